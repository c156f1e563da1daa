using System.CommandLine;
using PyramidFlow.Cli.Models;
using PyramidFlow.Cli.Parsing;

namespace PyramidFlow.Cli.Generating;

/// <summary>The options that say what clips are to be like; the same for every command that makes some.</summary>
/// <param name="extends">Whether the clip goes on from a video, so that lengths are those of what is added.</param>
internal sealed class ClipOptions(bool extends)
{
    // More are a slip of the fingers.
    private const int MostClips = 10_000;

    private readonly Option<int?> frames = CliOptions.Whole("--frames", "N",
        extends ? "frames to add: 8, 16, ... [default: about the model's]" : "frames: 1, 9, 17, ... [default: the model's; 1 for a .png]", 1);
    private readonly Option<double?> seconds = CliOptions.Number("--seconds", "S", "length instead of --frames, rounded to what the model can make", zero: false);
    private readonly Option<FrameSize?> size = CliOptions.Size("--size", $"size in pixels, such as 640x384 [default: {(extends ? "the video's if the model can make it, else " : "")}the model's]");
    private readonly Option<string?> prompts = CliOptions.Text("--prompts", "FILE", "story: a .json file that says from which second on which prompt holds");
    private readonly Option<string?> negative = CliOptions.Text("--negative", "TEXT", "what is not to be seen");
    private readonly Option<string?> suffix = CliOptions.Text("--suffix", "TEXT", "text put after the prompt; \"\" for none");
    private readonly Option<SeedChoice?> seed = CliOptions.SeedOrAny("--seed", "the same seed makes the same video; -1 is any [default: random, and printed]");
    private readonly Option<int?> count = CliOptions.Whole("--count", "N", "clips of each prompt, with seeds one after another: out-1.mp4, out-2.mp4, ...", 1, MostClips);
    private readonly Option<string?> like = CliOptions.Text("--like", "FILE", "take every setting that is not given from a file that was made before");
    private readonly Option<bool> json = CliOptions.Flag("--json", "print one JSON object about what was made");
    private readonly Option<bool> stream = CliOptions.Flag("--stream", "write an .mp4 that can be watched while it is made");
    private readonly Option<string?> saveLatents = CliOptions.Text("--save-latents", "FILE", "also write the latents (.safetensors)");
    private readonly Option<IReadOnlyList<int>?> steps = CliOptions.Steps("--steps", "denoising steps of the first frame in each stage [default: the model's]");
    private readonly Option<IReadOnlyList<int>?> videoSteps = CliOptions.Steps("--video-steps", "denoising steps of each later unit in each stage");
    private readonly Option<double?> guidance = CliOptions.Number("--guidance", "SCALE", "how closely the first frame follows the prompt; 0 is off", zero: true);
    private readonly Option<double?> videoGuidance = CliOptions.Number("--video-guidance", "SCALE", "the same for the later frames", zero: true);
    private readonly Option<(double Alpha, double Minimum)?> linear = CliOptions.LinearGuidance("--linear-guidance",
        "guidance falls by ALPHA with each unit, to MIN at least [default: off; 0.5,2 without values]", (0.5, 2));
    private readonly Option<int?> framesPerUnit = CliOptions.Whole("--frames-per-unit", "N", "latent frames made at once, 8 frames of video each [default: 1]", 1);
    private readonly Option<int?> history = CliOptions.Whole("--history", "N",
        "latent frames that a unit looks back at, 0 for all [default: all, or what the model was trained on if the clip is longer]", 0);
    private readonly Option<bool> sampleImage = CliOptions.Flag("--sample-image", "draw the latents of given pictures, as the released code does, and do not take their mean");
    private readonly ApproximationOptions approximations = new();
    private readonly ModelOptions model = new();

    /// <summary>The file to write; where a command shows it is up to the command.</summary>
    public Option<string?> Output { get; } = CliOptions.Text("--output", "FILE",
        $"file to write: .mp4, .gif{(extends ? "" : ", .png")} or - for standard output [default: out.mp4, or the next free name]", "-o");

    public void AddTo(ExampledCommand command)
    {
        command.Group("Length and size", frames, seconds, size);
        command.Group("What it shows", prompts, seed, negative, suffix, guidance, videoGuidance, linear);
        command.Group("Files", count, like, stream, saveLatents, json);
        command.Group("Sampling", steps, videoSteps, framesPerUnit, history, sampleImage);
        approximations.AddTo(command);
        model.AddTo(command);
    }

    public GenerateArguments Read(ParseResult parsed)
    {
        var story = parsed.GetValue(prompts) is { } file ? Story.Read(file) : null;
        return new GenerateArguments
        {
            Clip = approximations.Read(parsed, new ClipArguments
            {
                Prompt = story?.First,
                Later = story?.Later,
                Frames = parsed.GetValue(frames),
                Seconds = parsed.GetValue(seconds),
                Size = parsed.GetValue(size),
                Steps = parsed.GetValue(steps),
                VideoSteps = parsed.GetValue(videoSteps),
                Guidance = parsed.GetValue(guidance),
                VideoGuidance = parsed.GetValue(videoGuidance),
                LinearGuidance = parsed.GetValue(linear),
                FramesPerUnit = parsed.GetValue(framesPerUnit),
                History = parsed.GetValue(history),
                SampleImage = parsed.GetValue(sampleImage) ? true : null,
                Negative = parsed.GetValue(negative),
                Suffix = parsed.GetValue(suffix),
                Seed = parsed.GetValue(seed)?.Seed,
                AnySeed = parsed.GetValue(seed) is { Seed: null },
            }),
            Model = model.Read(parsed),
            Output = parsed.GetValue(Output),
            Count = parsed.GetValue(count) ?? 1,
            Like = parsed.GetValue(like),
            Stream = parsed.GetValue(stream),
            SaveLatents = parsed.GetValue(saveLatents),
            Json = parsed.GetValue(json),
            Verbose = parsed.GetValue<bool>(CliOptions.Verbose),
        };
    }
}
