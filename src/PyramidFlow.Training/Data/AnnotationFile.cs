using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Training.Data;

/// <summary>Annotation files: JSON lines as released, UTF-8. Blank lines are skipped.</summary>
public static class AnnotationFile
{
    /// <summary>Reads whole files.</summary>
    /// <param name="paths">One or more files.</param>
    /// <returns>All lines, file after file.</returns>
    /// <exception cref="DataException">A file is missing or empty, or a line is malformed; the first one is named.</exception>
    public static IReadOnlyList<Annotation> Read(params IEnumerable<string> paths)
    {
        var all = new List<Annotation>();
        foreach (var path in paths)
        {
            var (items, faults) = Scan(path);
            if (faults.Count > 0)
                throw new DataException(faults[0] + (faults.Count > 1 ? $" (and {faults.Count - 1} more lines are malformed: data check lists them)" : ""));
            all.AddRange(items);
        }

        return all.Count > 0 ? all : throw new DataException("no annotation file is named: give at least one");
    }

    /// <summary>Reads what can be read of a file.</summary>
    /// <param name="path">The file.</param>
    /// <param name="faults">Told about malformed lines.</param>
    /// <exception cref="DataException">The file is missing or empty, or every line is malformed.</exception>
    public static IReadOnlyList<Annotation> ReadGood(string path, FaultLog faults)
    {
        var (items, bad) = Scan(path);
        foreach (var fault in bad)
            faults.Add(fault);
        return items.Count > 0 ? items : throw new DataException(bad[0] + (bad.Count > 1 ? $" (and {bad.Count - 1} more lines are malformed: data check lists them)" : ""));
    }

    /// <summary>Reads a file and keeps what is wrong with its lines.</summary>
    /// <exception cref="DataException">The file is missing or holds no line.</exception>
    public static (IReadOnlyList<Annotation> Items, IReadOnlyList<DataFault> Faults) Scan(string path)
    {
        var (items, faults) = (new List<Annotation>(), new List<DataFault>());
        foreach (var (number, text) in Lines(path))
        {
            try
            {
                items.Add(AnnotationParser.Parse(text, path, number));
            }
            catch (BadItemException e)
            {
                faults.Add(new DataFault(path, number, e.Kind, e.Message));
            }
        }

        return items.Count + faults.Count > 0
            ? (items, faults)
            : throw new DataException($"{path} is empty: write one JSON object on each line, such as {{\"video\": \"a.mp4\", \"text\": \"a red ball\"}}");
    }

    /// <summary>The lines that are not blank, with their numbers from 1.</summary>
    /// <exception cref="DataException">The file is missing or cannot be read.</exception>
    internal static IEnumerable<(int Number, ReadOnlyMemory<byte> Utf8)> Lines(string path)
    {
        using var file = Open(path);
        using var lines = StrictLines.Read(file).GetEnumerator();
        while (Next())
        {
            if (lines.Current.Utf8.Span.ContainsAnyExcept(" \t\r"u8))
                yield return lines.Current;
        }

        bool Next()
        {
            try
            {
                return lines.MoveNext();
            }
            catch (Exception e) when (e is MalformedTextException or IOException)
            {
                throw new DataException($"cannot read {path}: {e.Message}", e);
            }
        }
    }

    private static FileStream Open(string path)
    {
        try
        {
            return File.OpenRead(path);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new DataException($"{path} does not exist: name an annotation file, JSON lines such as {{\"video\": \"a.mp4\", \"text\": \"a red ball\"}}", e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new DataException($"cannot read {path}: {(Directory.Exists(path) ? "it is a folder" : e.Message)}", e);
        }
    }
}
