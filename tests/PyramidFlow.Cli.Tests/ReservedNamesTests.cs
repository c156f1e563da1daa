using PyramidFlow.Cli.Generating;
using PyramidFlow.Testing;

namespace PyramidFlow.Cli.Tests;

public sealed class ReservedNamesTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Fact]
    public void Runs_at_once_take_other_names_and_leave_no_empty_file()
    {
        folder.Write("out-2.mp4", "old");
        string[][] taken = new string[8][];
        var runs = Enumerable.Range(0, 8).Select(_ => new ReservedNames()).ToList();
        Parallel.For(0, 8, i => taken[i] = [.. runs[i].Take(Name, 5)]);

        var names = taken.SelectMany(run => run).ToList();
        Assert.Equal(40, names.Distinct().Count());
        Assert.DoesNotContain(folder.File("out-2.mp4"), names);
        File.WriteAllText(names[7], "a video");
        runs.ForEach(run => run.Dispose());
        Assert.Equal([Path.GetFileName(names[7]), "out-2.mp4"], folder.Names.OrderByDescending(name => name == Path.GetFileName(names[7])));
    }

    private string Name(int number) => folder.File(number == 1 ? "out.mp4" : $"out-{number}.mp4");
}
