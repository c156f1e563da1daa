using System.CommandLine;

namespace PyramidFlow.Cli.Parsing;

/// <summary>A command whose help shows its options in groups and ends with examples.</summary>
internal sealed class ExampledCommand(string name, string description, params string[] examples) : Command(name, description)
{
    private readonly List<(string Title, IReadOnlyList<Option> Options)> groups = [];

    /// <summary>Whole command lines.</summary>
    public IReadOnlyList<string> Examples { get; } = examples;

    /// <summary>Options that belong together, under their title; others stand before them.</summary>
    public IReadOnlyList<(string Title, IReadOnlyList<Option> Options)> Groups => groups;

    /// <summary>Adds options that belong together.</summary>
    public void Group(string title, params Option[] options)
    {
        groups.Add((title, options));
        foreach (var option in options)
            Options.Add(option);
    }
}
