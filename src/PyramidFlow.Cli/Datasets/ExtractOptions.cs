using System.CommandLine;
using PyramidFlow.Cli.Models;
using PyramidFlow.Cli.Parsing;

namespace PyramidFlow.Cli.Datasets;

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
