using System.CommandLine;
using PyramidFlow.Cli.Generating;
using PyramidFlow.Cli.Terminal;

namespace PyramidFlow.Cli.Commands;

/// <summary><c>generate</c>: text or an image to a video or a picture.</summary>
internal static class GenerateCommand
{
    public static Command Create(CliConsole console)
    {
        var prompt = new Argument<string>("PROMPT") { Description = "what is to be seen, in quotes", Arity = ArgumentArity.ZeroOrOne };
        var image = CliOptions.Text("--image", "FILE", "picture to start from; cut to the size of the video");
        var latents = CliOptions.Text("--from-latents", "FILE", "latents to go on from, written by --save-latents");
        var batch = CliOptions.Text("--batch", "FILE", "make every prompt of a .txt, .jsonl or .json file into the folder -o; what is finished is left alone");
        var options = new ClipOptions(extends: false);
        var command = new ExampledCommand("generate", "Makes a video or a picture from a prompt, an image or both.",
            $"{About.Name} generate \"a small red circle moving right on a black background\" -o red.mp4",
            $"{About.Name} generate \"a large white star on a navy background\" -o star.png --seed 7",
            $"{About.Name} generate \"the ball slides to the left\" --image ball.jpg --seconds 1 -o ball.mp4",
            $"{About.Name} generate --prompts story.json --seconds 4 -o story.mp4",
            $"{About.Name} generate --like red.mp4 --seconds 4 -o longer.mp4",
            $"{About.Name} generate --batch prompts.txt -o clips",
            $"{About.Name} generate \"a red panda eating bamboo\" --model ./pyramid-flow-miniflux --reuse-prefix 2 --guidance-every 2",
            $"{About.Name} generate \"a red panda eating bamboo\" --model ./pyramid-flow-miniflux --variant 768p --device cuda")
        {
            prompt, options.Output, image, latents, batch,
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
                    ImageFile = parsed.GetValue(image),
                    LatentsFile = parsed.GetValue(latents),
                },
            };
            return parsed.GetValue(batch) is { } file
                ? new BatchRun(console).RunAsync(file, arguments, cancellationToken)
                : new GenerateRun(console).RunAsync(arguments, cancellationToken);
        });
        return command;
    }
}
