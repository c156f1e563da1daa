using System.Text.Json;
using PyramidFlow.Training.Data;

namespace PyramidFlow.Training.Tests.Data;

public class DataOptionsTests
{
    [Theory]
    [InlineData("\"a.jsonl\"", 1)]
    [InlineData("[\"a.jsonl\", \"b.jsonl\"]", 2)]
    public void Annotations_are_one_file_or_several(string json, int count) =>
        Assert.Equal(count, JsonSerializer.Deserialize<DataOptions>($"{{\"Annotations\": {json}}}")!.Annotations.Count);

    [Theory]
    [InlineData(0, 2, 4, "fps")]
    [InlineData(24, 0, 4, "workers")]
    [InlineData(24, 2, 0.5, "most_enlarged")]
    public async Task Impossible_values_are_named(double fps, int workers, double enlarged, string name)
    {
        var options = new DataOptions { Annotations = ["a.jsonl"], Sizes = ["64x64"], Frames = [9], Fps = fps, Workers = workers, MostEnlarged = enlarged };

        var error = await Assert.ThrowsAsync<DataException>(() => DataSources.ScanClipsAsync(options, captions: false, new FaultLog(), cancellationToken: TestContext.Current.CancellationToken));

        Assert.Contains(name, error.Message, StringComparison.Ordinal);
    }
}
