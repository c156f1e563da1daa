using PyramidFlow.Server.Domain;

namespace PyramidFlow.Server.Page;

/// <summary>Prompts to begin with.</summary>
internal static class Examples
{
    private static readonly string[] Sprites =
    [
        "a small red circle moving right on a black background",
        "a large white star growing on a navy background",
        "a large yellow square moving up on a teal background",
    ];

    private static readonly string[] World =
    [
        "a red panda eating bamboo in a misty forest, close view, soft morning light",
        "waves breaking on dark rocks at dusk, seen from above, slow and calm",
        "a paper boat drifting down a rainy street, reflections of neon signs",
    ];

    /// <summary>Some that suit a model: the small one of the repository knows a world of its own.</summary>
    public static IReadOnlyList<string> Of(VideoModel? model) => model?.Id == "sprites" ? Sprites : World;
}
