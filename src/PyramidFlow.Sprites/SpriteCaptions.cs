using PyramidFlow.Training.Data;

namespace PyramidFlow.Sprites;

/// <summary>
/// Captions of sprite clips: half of them the canonical sentence, half from templates with synonyms, so that prompts need not match literally.
/// Words are lower case; the only punctuation is the comma.
/// </summary>
internal static class SpriteCaptions
{
    /// <summary>
    /// All words of captions, and some more that prompts may use; lower case, without punctuation. The word for <see cref="SpriteColour.Pink"/> is
    /// not among them; tokenizers spell it.
    /// </summary>
    public static IReadOnlyList<string> Words { get; } =
    [
        "a", "an", "the", "and", "of", "on", "in", "at", "with", "to", "it", "is", "there",
        "small", "little", "tiny", "large", "big", "huge",
        "red", "green", "blue", "yellow", "purple", "orange", "white", "cyan",
        "circle", "disc", "ball", "square", "box", "triangle", "star",
        "black", "gray", "grey", "navy", "brown", "maroon", "teal", "background", "backdrop",
        "moving", "moves", "going", "goes", "sliding", "slides",
        "left", "right", "up", "down", "upwards", "downwards",
        "growing", "grows", "getting", "gets", "bigger", "larger", "expanding", "expands",
        "shrinking", "shrinks", "smaller",
        "still", "standing", "stands", "staying", "stays", "resting", "rests", "not", "does", "move",
        "video", "picture", "image", "clip", "shape", "slowly", "front", "against", "showing", "plain", "dark",
    ];

    /// <summary>The canonical caption, such as "a small red circle moving right on a black background".</summary>
    /// <param name="attributes">Attributes of the clip.</param>
    public static string Canonical(SpriteAttributes attributes) =>
        $"a {Lower(attributes.Size)} {Lower(attributes.Colour)} {Lower(attributes.Shape)} " +
        $"{Motions(attributes.Motion)[0].Participle} on a {Lower(attributes.Background)} background";

    /// <summary>Draws a caption: with probability one half the canonical one, otherwise a template with synonyms.</summary>
    /// <param name="attributes">Attributes of the clip.</param>
    /// <param name="random">Source of the choices.</param>
    public static string Caption(SpriteAttributes attributes, KeyedRandom random)
    {
        if (random.NextInt(2) == 0)
            return Canonical(attributes);

        var sprite = $"{Pick(Sizes(attributes.Size), random)} {Lower(attributes.Colour)} " +
            Pick(Shapes(attributes.Shape), random);
        var (participle, verb) = Pick(Motions(attributes.Motion), random);
        var background = $"{Pick(Backgrounds(attributes.Background), random)} " +
            (random.NextInt(4) == 0 ? "backdrop" : "background");
        return random.NextInt(8) switch
        {
            0 => $"on a {background}, a {sprite} {verb}",
            1 => $"a {sprite} {verb} on a {background}",
            2 => $"a {sprite} on a {background}, {participle}",
            3 => $"the {sprite} is {participle} on a {background}",
            4 => $"there is a {sprite} {participle} on the {background}",
            5 => $"a video of a {sprite} {participle} on a {background}",
            6 => $"a {background} with a {sprite} {participle}",
            _ => $"a {sprite} {participle} in front of a {background}",
        };
    }

    /// <summary>Parses the attributes of a caption or prompt by its words, in any order.</summary>
    /// <param name="text">The text; case and punctuation are ignored.</param>
    /// <param name="attributes">The parsed attributes.</param>
    /// <returns>False if an attribute is missing, or named twice with different values.</returns>
    public static bool TryParse(string text, out SpriteAttributes attributes)
    {
        attributes = default;
        char[] separators = [' ', '\t', '\r', '\n', ',', '.', ';', ':', '!', '?', '"', '\''];
        var words = text.ToLowerInvariant().Replace("navy blue", "navy", StringComparison.Ordinal)
            .Split(separators, StringSplitOptions.RemoveEmptyEntries);
        if (!Only<SpriteSize>(words, Sizes, out var size) ||
            !Only<SpriteColour>(words, c => [Lower(c)], out var colour) ||
            !Only<SpriteShape>(words, Shapes, out var shape) ||
            !Only<SpriteMotion>(words, MotionSigns, out var motion) ||
            !Only<SpriteBackground>(words, Backgrounds, out var background))
            return false;
        attributes = new(size, colour, shape, motion, background);
        return true;
    }

    private static bool Only<T>(string[] words, Func<T, string[]> signs, out T found) where T : struct, Enum
    {
        found = default;
        var count = 0;
        foreach (var value in Enum.GetValues<T>())
        {
            if (!Array.Exists(signs(value), sign => Array.IndexOf(words, sign) >= 0))
                continue;
            found = value;
            count++;
        }

        return count == 1;
    }

    private static string[] Sizes(SpriteSize size) =>
        size == SpriteSize.Small ? ["small", "little", "tiny"] : ["large", "big", "huge"];

    private static string[] Shapes(SpriteShape shape) => shape switch
    {
        SpriteShape.Circle => ["circle", "disc", "ball"],
        SpriteShape.Square => ["square", "box"],
        _ => [Lower(shape)],
    };

    private static string[] Backgrounds(SpriteBackground background) =>
        background == SpriteBackground.Gray ? ["gray", "grey"] : [Lower(background)];

    private static (string Participle, string Verb)[] Motions(SpriteMotion motion) => motion switch
    {
        SpriteMotion.Left or SpriteMotion.Right =>
        [
            .. Directed(Lower(motion)), ($"moving to the {Lower(motion)}", $"moves to the {Lower(motion)}"),
            ($"going to the {Lower(motion)}", $"goes to the {Lower(motion)}"),
        ],
        SpriteMotion.Up or SpriteMotion.Down =>
            [.. Directed(Lower(motion)), ($"moving {Lower(motion)}wards", $"moves {Lower(motion)}wards")],
        SpriteMotion.Growing =>
        [
            ("growing", "grows"), ("getting bigger", "gets bigger"), ("getting larger", "gets larger"),
            ("expanding", "expands"),
        ],
        SpriteMotion.Shrinking => [("shrinking", "shrinks"), ("getting smaller", "gets smaller")],
        _ =>
        [
            ("standing still", "stands still"), ("not moving", "does not move"), ("resting", "rests"),
            ("staying still", "stays still"),
        ],
    };

    private static (string Participle, string Verb)[] Directed(string direction) =>
        [($"moving {direction}", $"moves {direction}"), ($"going {direction}", $"goes {direction}"),
         ($"sliding {direction}", $"slides {direction}")];

    private static string[] MotionSigns(SpriteMotion motion) => motion switch
    {
        SpriteMotion.Up or SpriteMotion.Down => [Lower(motion), $"{Lower(motion)}wards", $"{Lower(motion)}ward"],
        SpriteMotion.Growing => ["growing", "grows", "bigger", "larger", "expanding", "expands"],
        SpriteMotion.Shrinking => ["shrinking", "shrinks", "smaller"],
        SpriteMotion.Still => ["still", "not", "resting", "rests"],
        _ => [Lower(motion)],
    };

    private static T Pick<T>(T[] choices, KeyedRandom random) => choices[random.NextInt(choices.Length)];

    private static string Lower<T>(T value) where T : struct, Enum => value.ToString().ToLowerInvariant();
}
