using PyramidFlow.Cli.Terminal;
using PyramidFlow.Media;
using PyramidFlow.Testing;

namespace PyramidFlow.Cli.Tests;

public class DataSpritesTests
{
    [Fact]
    public async Task Draws_a_row_for_each_clip_and_names_what_it_shows()
    {
        using var folder = new TemporaryFolder();
        var path = folder.File("sheet.png");
        var run = await CliRun.OfAsync("data", "sprites", "--count", "3", "--seed", "4", "-o", path);

        Assert.Equal(ExitCode.Ok, run.Code);
        Assert.Equal(path, run.Out.Trim());
        Assert.Equal(3, run.Error.Split('\n', StringSplitOptions.RemoveEmptyEntries).Length);
        var sheet = await ImageReader.ReadAsync(path, cancellationToken: TestContext.Current.CancellationToken);
        Assert.Equal((8 * 130) + 2, sheet.Width);
        Assert.Equal((3 * 130) + 2, sheet.Height);
    }

    [Fact]
    public async Task Only_png_is_written()
    {
        using var folder = new TemporaryFolder();
        (await CliRun.OfAsync("data", "sprites", "-o", folder.File("sheet.jpg"))).AssertRefused("name it .png");
    }
}
