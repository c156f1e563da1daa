using System.CommandLine;
using PyramidFlow.Cli.Generating;
using PyramidFlow.Cli.Terminal;

namespace PyramidFlow.Cli.Commands;

/// <summary><c>extend</c>: continues a video from its end.</summary>
internal static class ExtendCommand
{
    public static Command Create(CliConsole console)
    {
        var video = new Argument<string>("VIDEO") { Description = "video to go on from; cut to the size of the new one, without sound", Arity = ArgumentArity.ExactlyOne };
        var prompt = new Argument<string>("PROMPT") { Description = "what is to be seen then, in quotes [default: what the video was made from]", Arity = ArgumentArity.ZeroOrOne };
        var newOnly = CliOptions.Flag("--new-only", "write the new frames only, and not the given ones before them");
        var options = new ClipOptions(extends: true);
        var command = new ExampledCommand("extend", "Makes a video longer.",
            $"{About.Name} extend red.mp4 \"a small red circle moving left on a black background\" -o longer.mp4",
            $"{About.Name} extend holiday.mp4 \"waves roll in\" --seconds 5 --model ./pyramid-flow-miniflux -o waves.mp4")
        {
            video, prompt, options.Output, newOnly,
        };
        options.AddTo(command);
        command.SetAction((parsed, cancellationToken) =>
        {
            var arguments = options.Read(parsed);
            arguments = arguments with
            {
                Clip = arguments.Clip with
                {
                    Prompt = parsed.GetValue(prompt) ?? arguments.Clip.Prompt,
                    VideoFile = parsed.GetValue(video),
                    NewFramesOnly = parsed.GetValue(newOnly) ? true : null,
                },
            };
            return new GenerateRun(console).RunAsync(arguments, cancellationToken);
        });
        return command;
    }
}
