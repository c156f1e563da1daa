using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Worker;

namespace PyramidFlow.Server.Http;

/// <summary>
/// Names and sizes of OpenAI's models, with which programs for its API ask. A name stands for the default model, a size that a model cannot make for the nearest shape that it can. The answer says
/// so in a header.
/// </summary>
internal static class OpenAiNames
{
    private static readonly string[] Families = ["sora-2", "gpt-image-", "chatgpt-image-", "dall-e-"];

    private static readonly (int Width, int Height)[] Sizes =
        [(1280, 720), (720, 1280), (1792, 1024), (1024, 1792), (1920, 1080), (1080, 1920), (1536, 1024), (1024, 1536), (1024, 1024), (512, 512), (256, 256)];

    /// <summary>Whether a name is one of OpenAI's models, with or without a date or another suffix.</summary>
    public static bool IsModel(string name) => Families.Any(family => name.StartsWith(family, StringComparison.Ordinal));

    /// <summary>Replaces names and sizes of OpenAI's models by those of this service. A model of this service with such a name is taken as it is.</summary>
    /// <param name="request">The request.</param>
    /// <param name="models">Models of this service, the default first.</param>
    /// <param name="original">Model of a request that names none; null takes the default.</param>
    public static AskedRequest Replace(VideoRequest request, IReadOnlyList<VideoModel> models, string? original = null)
    {
        var asked = new AskedRequest(request);
        if (request.Model is { } name && ModelCatalog.Among(models, name) is null && IsModel(name))
            asked = asked with { Request = asked.Request with { Model = null }, Model = name };
        if (request is not { Width: { } width, Height: { } height } || !(Sizes.Contains((width, height)) || asked.Model is not null))
            return asked;
        var model = (asked.Request.Model ?? original) is { } named ? ModelCatalog.Among(models, named) : models.FirstOrDefault();
        if (model is null)
            return asked;
        var canBeMade = width % model.SizeMultiple == 0 && height % model.SizeMultiple == 0;
        // Who names a model of OpenAI does not know how large this one makes its videos.
        var isMeant = asked.Model is null || (long)width * height <= (long)model.Settings.Width * model.Settings.Height;
        if (canBeMade && isMeant)
            return asked;
        var (nearestWidth, nearestHeight) = model.SizeOf((double)width / height);
        return asked with { Request = asked.Request with { Width = nearestWidth, Height = nearestHeight }, Size = (width, height) };
    }
}

/// <summary>A request as it is made, with what was asked for in its place.</summary>
/// <param name="Request">The request.</param>
internal sealed record AskedRequest(VideoRequest Request)
{
    /// <summary>The header that names what was replaced.</summary>
    public const string Header = "x-pyramidflow-warning";

    /// <summary>The model that was asked for; null where it was taken as it is.</summary>
    public string? Model { get; init; }

    /// <summary>The size that was asked for; null where it was taken as it is.</summary>
    public (int Width, int Height)? Size { get; init; }

    /// <summary>Says in a header of the answer what was replaced by what.</summary>
    /// <param name="response">The answer.</param>
    /// <param name="made">The request as it was accepted.</param>
    public void Warn(HttpResponse response, VideoRequest made)
    {
        var replaced = new List<string>();
        if (Model is { } model)
            replaced.Add($"model {model} is not here and {Ascii(made.Model)} takes its place");
        if (Size is var (width, height))
            replaced.Add(FormattableString.Invariant($"size {width}x{height} cannot be made and {made.Width}x{made.Height} takes its place"));
        if (replaced.Count > 0)
            response.Headers[Header] = string.Join("; ", replaced);
    }

    // Names of models are names of folders, which may hold what a header may not.
    private static string Ascii(string? name) => string.Concat((name ?? "").Select(letter => letter is >= ' ' and <= '~' ? letter : '?'));
}
