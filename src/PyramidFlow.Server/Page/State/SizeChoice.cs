using PyramidFlow.Server.Domain;

namespace PyramidFlow.Server.Page.State;

/// <summary>A size to choose.</summary>
/// <param name="Name">In words.</param>
/// <param name="Width">Pixels.</param>
/// <param name="Height">Pixels.</param>
internal sealed record SizeChoice(string Name, int Width, int Height)
{
    /// <summary>Sizes with about as many pixels as a model was trained on, its own first.</summary>
    public static IReadOnlyList<SizeChoice> Of(VideoModel model)
    {
        var (width, height, multiple) = (model.Settings.Width, model.Settings.Height, model.SizeMultiple);
        var area = (double)width * height;
        (string Name, double Ratio)[] shapes = [("landscape", 5 / 3.0), ("square", 1), ("portrait", 3 / 5.0)];
        return
        [
            new SizeChoice("as trained", width, height),
            .. shapes.Select(shape => new SizeChoice(shape.Name, Side(Math.Sqrt(area * shape.Ratio)), Side(Math.Sqrt(area / shape.Ratio))))
                .Where(size => (size.Width, size.Height) != (width, height)),
        ];

        int Side(double pixels) => Math.Max(1, (int)Math.Round(pixels / multiple)) * multiple;
    }
}
