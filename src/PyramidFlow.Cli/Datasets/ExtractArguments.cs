using PyramidFlow.Cli.Generating;
using PyramidFlow.Cli.Models;
using PyramidFlow.Training.Data;

namespace PyramidFlow.Cli.Datasets;

/// <summary>What both extractions are given.</summary>
/// <param name="Annotations">Annotation file.</param>
/// <param name="Output">New annotation file; null is named after the old one.</param>
/// <param name="Folder">Folder of the files; null is one beside the output.</param>
/// <param name="Part">Such as <c>2/4</c>; null is all.</param>
/// <param name="Model">Which model and how it runs.</param>
internal sealed record ExtractArguments(string Annotations, string? Output, string? Folder, (int Part, int Parts)? Part, ModelArguments Model)
{
    private const string Lines = ".jsonl", Json = ".json";

    /// <summary>Where to read and write, checked.</summary>
    /// <param name="kind">What is added to the name of the annotation file.</param>
    public ExtractionTarget Target(string kind)
    {
        OutputFile.CheckInput(Annotations, "name an annotation file, JSON lines");
        var output = Output ?? Path.Combine(Path.GetDirectoryName(Annotations) ?? "", $"{Path.GetFileNameWithoutExtension(Annotations)}-{kind}{Lines}");
        OutputFile.Check(output, Lines, Json);
        return new ExtractionTarget(Annotations, output, Folder, Part?.Part ?? 1, Part?.Parts ?? 1);
    }
}
