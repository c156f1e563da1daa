using System.Globalization;
using System.Text.Json;

namespace PyramidFlow.Training.Runs;

/// <summary>The folder of a training run: its state and its metrics.</summary>
public sealed class RunFolder
{
    private readonly string folder;

    /// <summary>Opens or makes the folder.</summary>
    public RunFolder(string folder)
    {
        this.folder = folder;
        Directory.CreateDirectory(folder);
    }

    /// <summary>The saved state's file.</summary>
    public string StateFile => Path.Combine(folder, "state.safetensors");

    /// <summary>A file or folder of the run.</summary>
    public string File(string name) => Path.Combine(folder, name);

    /// <summary>Appends one line of metrics to <c>metrics.jsonl</c>.</summary>
    public void Log(long step, params ReadOnlySpan<(string Name, double Value)> values)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            json.WriteNumber("step", step);
            json.WriteString("time", DateTimeOffset.UtcNow.ToString("O", CultureInfo.InvariantCulture));
            foreach (var (name, value) in values)
            {
                if (double.IsFinite(value))
                    json.WriteNumber(name, value);
                else
                    json.WriteNull(name);
            }

            json.WriteEndObject();
        }

        buffer.WriteByte((byte)'\n');
        using var stream = new FileStream(File("metrics.jsonl"), FileMode.Append, FileAccess.Write);
        buffer.WriteTo(stream);
    }
}
