using System.CommandLine;
using PyramidFlow.Cli.Models;
using PyramidFlow.Cli.Parsing;
using PyramidFlow.Models;

namespace PyramidFlow.Cli.Datasets;

/// <summary>The size that items are cut to where none is named.</summary>
internal static class ModelSize
{
    /// <summary>That of the released 384p models.</summary>
    public const string Released = "640x384";

    /// <summary>The size a model makes unless told otherwise, such as <c>640x384</c>.</summary>
    public static string Of(CheckpointFolder folder, string? variant = null)
    {
        var settings = folder.Settings(variant);
        return FormattableString.Invariant($"{settings.Width}x{settings.Height}");
    }
}

/// <summary>The options both extractions have.</summary>
/// <param name="kind">What is added to the names of files.</param>
internal sealed class ExtractOptions(string kind)
{
    public Argument<string> Annotations { get; } = new("ANNOTATIONS") { Description = "annotation file: on each line an object such as {\"video\": \"a.mp4\", \"text\": \"a red ball\"}" };

    public Option<string?> Output { get; } = CliOptions.Text("--output", "FILE", $"annotation file to write [default: ANNOTATIONS-{kind}.jsonl]", "-o");

    public Option<string?> Folder { get; } = CliOptions.Text("--folder", "DIR", $"folder for the files [default: OUTPUT-{kind}]");

    public Option<(int Part, int Parts)?> Part { get; } = CliOptions.Part("--part", "one part of the items, for one of several machines or GPUs at once, such as 2/4");

    public Option<string?> Store { get; } = CliOptions.Choice("--store", "number type of the files [default: bf16]", "bf16", "fp16", "fp32");

    public ModelOptions Model { get; } = new();

    public ExtractArguments Read(ParseResult parsed) => new(parsed.GetRequiredValue(Annotations), parsed.GetValue(Output), parsed.GetValue(Folder),
        parsed.GetValue(Part), Model.Read(parsed));
}
