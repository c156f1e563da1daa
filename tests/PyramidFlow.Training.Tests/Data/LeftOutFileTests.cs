using System.Text.Json;
using PyramidFlow.Testing;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Training.Data;
using PyramidFlow.Training.Loop;
using PyramidFlow.Training.Tests.Loop;

namespace PyramidFlow.Training.Tests.Data;

/// <summary>The list of all items that a run left out.</summary>
public sealed class LeftOutFileTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    private string List => folder.File("run", LeftOutFile.Name);

    public void Dispose() => folder.Dispose();

    [Fact]
    public void A_line_says_what_was_left_out_and_why()
    {
        var said = Run(Missing(7, "größer \"als\".mp4"));

        Assert.Equal(["1 of the items could not be used: 1 missing", "a.jsonl, line 7: größer \"als\".mp4 does not exist", $"all of them are in {List}"], said);
        var line = JsonElement.Parse(Assert.Single(File.ReadLines(List)));
        Assert.Equal(("a.jsonl", 7, "größer \"als\".mp4"), (Text(line, "file"), line.GetProperty("line").GetInt32(), Text(line, "item")));
        Assert.Equal(("missing", "file_missing", "größer \"als\".mp4 does not exist"), (Text(line, "kind"), Text(line, "code"), Text(line, "reason")));
    }

    [Fact]
    public void A_run_that_goes_on_keeps_what_its_earlier_parts_found_and_a_new_one_does_not()
    {
        Run(Missing(1, "1.mp4"), Missing(2, "2.mp4"));
        File.AppendAllText(List, "no item\n");
        Run(Missing(3, "3.mp4"));
        Assert.Equal([3], Lines());

        State();
        Run(Missing(2, "2.mp4"));
        Assert.Equal([2, 3], Lines());
        Assert.Equal("2 of the items could not be used: 2 missing", Run()[0]);
        File.Delete(new RunFolder(folder.File("run")).LatestState!);
        Assert.Empty(Run());
        Assert.False(File.Exists(List));
    }

    [Fact]
    public void A_list_that_cannot_be_written_is_an_error()
    {
        Directory.CreateDirectory(List);
        FaultAssert.Is(Assert.Throws<TrainingException>(() => Run(Missing(1, "1.mp4"))), "left_out_not_written", ("file", List));
    }

    [Fact]
    public async Task Rank_zero_lists_what_each_process_found()
    {
        var run = new RunFolder(folder.File("run"));
        await Ranks.RunAsync(3, folder.File("store"), group =>
        {
            var faults = new FaultLog();
            faults.Add(Missing(1, "1.mp4"));
            var file = new LeftOutFile(run, faults);
            if (group.Rank > 0)
                faults.Add(Missing(1 + group.Rank, $"{group.Rank + 1}.mp4"));
            return file.End(group);
        });
        Assert.Equal([1, 2, 3], Lines());
    }

    private static string? Text(JsonElement line, string key) => line.GetProperty(key).GetString();

    private static DataFault Missing(int line, string item) => new("a.jsonl", line, DataFaultKind.Missing, TrainingFault.FileMissing(item)) { Item = item };

    private List<int> Lines() => [.. File.ReadLines(List).Select(line => JsonElement.Parse(line).GetProperty("line").GetInt32())];

    private IReadOnlyList<string> Run(params DataFault[] found)
    {
        var faults = new FaultLog();
        var file = new LeftOutFile(new RunFolder(folder.File("run")), faults);
        foreach (var fault in found)
            faults.Add(fault);
        return file.End(null);
    }

    private void State()
    {
        using var scope = new TensorScope();
        SafetensorsWriter.Write(new RunFolder(folder.File("run")).StateFile(1), [("values", Tensor.Zeros([1]))]);
    }
}
