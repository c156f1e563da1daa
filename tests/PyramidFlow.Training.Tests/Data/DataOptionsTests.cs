using System.Text.Json;
using PyramidFlow.Testing;
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
    [InlineData(0, 2, 4, "key=data.fps value=0")]
    [InlineData(24, 0, 4, "key=data.workers value=0 least=1")]
    [InlineData(24, 2, 0.5, "key=data.most_enlarged value=0.5 least=1")]
    public async Task Impossible_values_are_named(double fps, int workers, double enlarged, string parameters)
    {
        var options = new DataOptions { Annotations = ["a.jsonl"], Sizes = ["64x64"], Frames = [9], Fps = fps, Workers = workers, MostEnlarged = enlarged };

        var error = await Assert.ThrowsAsync<TrainingException>(() => DataSources.ScanClipsAsync(options, captions: false, new FaultLog(), cancellationToken: TestContext.Current.CancellationToken));

        FaultAssert.Has(error, "config_value_invalid", parameters);
    }
}
