namespace PyramidFlow.Training.Data.Extracting;

/// <summary>Where an extraction writes, and which part of the items it does.</summary>
/// <param name="Annotations">The annotation file to read.</param>
/// <param name="Output">The annotation file to write; may be the same.</param>
/// <param name="Folder">Folder for the files; null is one beside the output.</param>
/// <param name="Part">Which part, from 1. Parts may run on several machines or GPUs at once.</param>
/// <param name="Parts">Number of parts; with more than one no annotation file is written, a last run without parts does that.</param>
public sealed record ExtractionTarget(string Annotations, string Output, string? Folder = null, int Part = 1, int Parts = 1)
{
    /// <summary>Whether an item belongs to this part.</summary>
    internal bool Has(int index) => index % Parts == Part - 1;

    /// <summary>The folder of the files, full path; made if need be.</summary>
    internal string MakeFolder(string kind)
    {
        var folder = Folder ?? Path.Combine(Path.GetDirectoryName(Path.GetFullPath(Output))!, $"{Path.GetFileNameWithoutExtension(Output)}-{kind}");
        try
        {
            return Directory.CreateDirectory(folder).FullName;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new DataException($"the folder {folder} cannot be made: name another ({e.Message})", e);
        }
    }

    /// <exception cref="DataException">The part is impossible.</exception>
    internal void Check()
    {
        if (Part < 1 || Parts < Part)
            throw new DataException($"part {Part} of {Parts} is impossible: use 1/{Math.Max(1, Parts)} to {Math.Max(1, Parts)}/{Math.Max(1, Parts)}");
    }
}
