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
        var (width, height) = (model.Settings.Width, model.Settings.Height);
        (string Name, double Ratio)[] shapes = [("landscape", 5 / 3.0), ("square", 1), ("portrait", 3 / 5.0)];
        return
        [
            new SizeChoice("as trained", width, height),
            .. shapes.Select(shape => Shaped(model, shape.Name, shape.Ratio))
                .Where(size => (size.Width, size.Height) != (width, height)),
        ];
    }

    /// <summary>The size of a shape with about as many pixels as a model was trained on.</summary>
    /// <param name="model">The model.</param>
    /// <param name="name">Name of the size.</param>
    /// <param name="ratio">Width by height.</param>
    public static SizeChoice Shaped(VideoModel model, string name, double ratio)
    {
        var (width, height) = model.SizeOf(ratio);
        return new SizeChoice(name, width, height);
    }
}
