using PyramidFlow.Training.Loop;

namespace PyramidFlow.Training.Tests.Loop;

public class ContactSheetTests
{
    [Fact]
    public void Lays_first_to_last_frames_out_in_rows()
    {
        // Two clips of 1x1 pixels, five frames and one.
        byte[] longClip = [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4];
        byte[] shortClip = [9, 9, 9];
        var sheet = ContactSheet.Compose([longClip, shortClip], width: 1, height: 1, columns: 3, gap: 0);
        Assert.Equal((3, 2), (sheet.Width, sheet.Height));
        Assert.Equal([0, 2, 4, 9, 200, 200], sheet.Pixels.ToArray().Where((_, i) => i % 3 == 0));
    }

    [Fact]
    public void Keeps_gaps_between_cells()
    {
        var sheet = ContactSheet.Compose([new byte[2 * 2 * 3]], width: 2, height: 2, columns: 1, gap: 1);
        Assert.Equal((4, 4), (sheet.Width, sheet.Height));
        Assert.Equal(4 * 3, sheet.Pixels.ToArray().Count(b => b == 0));
    }

    [Fact]
    public void Names_the_clip_that_is_not_whole_frames()
    {
        var error = Assert.Throws<ArgumentException>(
            () => ContactSheet.Compose([new byte[12], new byte[13]], 2, 2));
        Assert.Contains("clip 1 has 13 bytes", error.Message, StringComparison.Ordinal);
    }
}
