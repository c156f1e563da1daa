using PyramidFlow.Media;

namespace PyramidFlow.Server.Worker;

/// <summary>Small pictures of up to 16 moments of a video, in rows of 4. Only these are held, however long it is.</summary>
internal sealed class Spritesheet
{
    private const int Most = 16, Columns = 4;
    private readonly List<RgbImage> pictures = [];
    private RgbImage? middle;
    private int total = 1, next;

    /// <summary>How many frames the video will have.</summary>
    public void Expect(int frames) => total = frames;

    /// <summary>A frame of the video.</summary>
    /// <param name="number">From 0.</param>
    /// <param name="frame">The frame.</param>
    public void Add(int number, RgbImage frame)
    {
        if (middle is null || number == total / 2)
            middle = SmallPicture.Of(frame, SmallPicture.ThumbnailSide);
        if (number < next || pictures.Count == Most)
            return;
        pictures.Add(SmallPicture.Of(frame, SmallPicture.SheetSide));
        next = Math.Max(number + 1, pictures.Count * total / Most);
    }

    /// <summary>The picture of the middle of the video.</summary>
    public RgbImage Middle() => middle!;

    /// <summary>All pictures; what is over in the last row is black.</summary>
    public RgbImage Whole()
    {
        var (width, height) = (pictures[0].Width, pictures[0].Height);
        var columns = Math.Min(Columns, pictures.Count);
        var rows = (pictures.Count + Columns - 1) / Columns;
        var pixels = new byte[columns * width * rows * height * 3];
        foreach (var (i, picture) in pictures.Index())
        {
            for (var y = 0; y < height; y++)
            {
                var line = ((((i / Columns * height) + y) * columns) + (i % Columns)) * width * 3;
                picture.Pixels.Slice(y * width * 3, width * 3).CopyTo(pixels.AsMemory(line));
            }
        }

        return new RgbImage(columns * width, rows * height, pixels);
    }
}
