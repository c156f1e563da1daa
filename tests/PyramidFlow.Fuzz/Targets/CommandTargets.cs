using System.Text;
using PyramidFlow.Cli.Generating;
using PyramidFlow.Cli.Models;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Generation;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Fuzz.Targets;

/// <summary>Files and values that the command line takes.</summary>
internal static class CommandTargets
{
    public static IEnumerable<FuzzTarget> All()
    {
        Type[] usage = [typeof(UsageException)];
        yield return new("prompts", FuzzTargets.AsFile("prompts.json", path => ClipOptions.ReadSchedule(path)), usage,
            FuzzTargets.Utf8("""{"0":"a red ball","2.5":"a blue ball"}""", """[{"from":0,"prompt":"a red ball"},{"from":1.5,"prompt":"b"}]"""), FuzzTargets.Utf8("\"0,5\"", "\"from\":", "\"prompt\":", "\\ud83d", "null"));
        foreach (var (extension, seed) in ((string, string)[])[(".txt", "a red ball\na blue ball\n"), (".jsonl", "\"a red ball\"\n{\"prompt\":\"b\",\"seed\":7,\"frames\":9,\"guidance\":7.5,\"steps\":[2,2,2]}\n"), (".json", """{"one":{"prompt":"a","size":"64x64","prompts":[{"from":1,"prompt":"b"}]},"two":"b"}""")])
        {
            yield return new($"batch-{extension[1..]}", FuzzTargets.AsFile("batch" + extension, Batch), usage, FuzzTargets.Utf8(seed),
                FuzzTargets.Utf8("\n", "\"prompt\":", "\"seed\":", "\"steps\":", "\\ud83d", "\"7,5\"", "//", ",]"));
        }

        yield return new("notes", Notes, [typeof(MalformedTextException)],
            FuzzTargets.Utf8("""{"program":"pyramidflow 0.1.0","prompt":"a","negative_prompt":"","seed":7,"model":"sprites","variant":"","width":64,"height":64,"frames":9,"steps":[2,2,2],"video_steps":[2,2,2],"guidance":7.5,"linear_guidance":[1,2],"prompts":[{"from":1,"prompt":"b"}],"image":"../a.png","loras":[{"name":"a","weight":1,"sha256":"x"}]}"""),
            FuzzTargets.Utf8("null", "\"prompts\":[null]", "\"loras\":[null]", "\\ud83d", "\"image\":\"/etc/passwd\""));
        yield return new("values", OptionValues, [typeof(FormatException), typeof(UsageException)], FuzzTargets.Utf8("7", "7.5", "8GB", "20,20,20", "640x384", "a.safetensors:0.8", "2.5,1"), FuzzTargets.Utf8(",", ".", "x", "GB", "GiB", ":", "-", "e9"));
    }

    private static void Batch(string path)
    {
        var batch = BatchFile.Open(path);
        foreach (var entry in batch.Entries)
        {
            _ = batch.Where(entry);
            try
            {
                _ = batch.Read(entry);
            }
            catch (UsageException)
            {
                // One bad item; the others are read.
            }
        }
    }

    private static void Notes(byte[] input)
    {
        if (GenerationNotes.Read(new Dictionary<string, string> { [GenerationNotes.Key] = Encoding.UTF8.GetString(input) }) is not { } notes)
            return;
        var clip = notes.ToClip();
        if (clip.ImageFile?.Contains('/') == true || clip.LatentsFile?.Contains('/') == true)
            throw new WrongResultException("a note leads out of the folder");
    }

    // Each parser gets the input, whatever the others say.
    private static void OptionValues(byte[] input)
    {
        var text = Encoding.UTF8.GetString(input);
        FormatException? fault = null;
        foreach (var parse in (Action<string>[])[t => Values.Whole(t, 1), t => Values.Number(t, zero: true), t => Values.Bytes(t), t => Values.Steps(t), t => FrameSize.Parse(t), t => Values.Seed(t), t => Values.Sizes(t), t => LoraArgument.Parse(t)])
        {
            try
            {
                parse(text);
            }
            catch (FormatException e)
            {
                fault = e;
            }
        }

        if (fault is not null)
            throw fault;
    }
}
