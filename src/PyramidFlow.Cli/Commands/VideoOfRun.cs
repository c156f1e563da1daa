using PyramidFlow.Cli.Terminal;
using PyramidFlow.Hub;
using PyramidFlow.Training.Data;
using PyramidFlow.Training.Loop;

namespace PyramidFlow.Cli.Commands;

/// <summary>The command that makes a video from a run of training, which is printed at its end.</summary>
internal static class VideoOfRun
{
    private const string AnyPrompt = "a red panda", PlainCharacters = "/._-+=:,@%";

    /// <summary>A sentence, and the command as one line; a sentence alone where there is no video to make yet.</summary>
    /// <param name="part">Kind of the run: <c>dit</c>, <c>vae</c> or <c>lora</c>.</param>
    /// <param name="folder">Folder of the run, as typed.</param>
    public static IReadOnlyList<string> After(string part, string folder)
    {
        if (TrainedRun.Find(folder, part) is not { } run)
            return [];
        if (part == "vae" && !(run is { FreezesEncoder: true, Model: not null }))
            return ["the encoder is a new one: train a transformer on its latents before you make videos with it"];
        var prompt = run.Prompt ?? AnyPrompt;
        if (run.Model is null)
        {
            // Its text encoders are in no model yet.
            var model = Path.Combine(folder, "exported");
            return [Lead, $"{Line("train", "export", folder, model)} && {Line("generate", prompt, "--model", model)}", .. Best(part, folder, _ => "train export --best takes it")];
        }

        string[] variant = run.Variant is { } name ? ["--variant", name] : [];
        var option = part switch { "lora" => "--lora", "vae" => "--vae", _ => "--transformer" };
        return [Lead, Line(["generate", prompt, "--model", NameOf(run.Model), .. variant, option, folder]), .. Best(part, folder, best => $"{option} {Quoted(best)} takes it")];
    }

    // Where the newest weights are not the best.
    private static string[] Best(string part, string folder, Func<string, string> how) => BestFolder.Find(folder, part) is { IsNewest: false } best
        ? [FormattableString.Invariant($"step {best.Read()!.Step} has the least held-out loss, {best.Read()!.Loss:G4}, not the last one: {how(best.Path)}")]
        : [];

    /// <summary>A command line that a shell reads as these words.</summary>
    internal static string Line(params IEnumerable<string> words) => string.Join(' ', words.Prepend(About.Name).Select(Quoted));

    private static string Lead => "this makes a video of it:";

    // The name of an installed model, else its path as seen from here.
    private static string NameOf(string model)
    {
        var name = Path.GetFileName(model);
        if (ModelCatalog.FindInstalled(name) is { } installed && Path.GetFullPath(installed) == Path.GetFullPath(model))
            return name;
        var relative = Path.GetRelativePath(Environment.CurrentDirectory, model);
        return relative.StartsWith("..", StringComparison.Ordinal) ? model : relative;
    }

    private static string Quoted(string word)
    {
        if (word.Length > 0 && word.All(c => char.IsAsciiLetterOrDigit(c) || PlainCharacters.Contains(c, StringComparison.Ordinal)))
            return word;
        // Within double quotes, these mean something to a shell.
        return word.IndexOfAny(['"', '$', '`', '\\', '!']) < 0 ? $"\"{word}\"" : $"'{word.Replace("'", "'\\''", StringComparison.Ordinal)}'";
    }
}
