using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Torch.Tests.Formats;

public sealed class ReadableJsonTests
{
    [Fact]
    public void Letters_of_all_languages_stay_and_quotes_are_escaped()
    {
        Assert.Equal("""{"prompt":"ein Bär & \"赤い玉\""}""", ReadableJson.Write(
            json =>
            {
                json.WriteStartObject();
                json.WriteString("prompt", "ein Bär & \"赤い玉\"");
                json.WriteEndObject();
            }));
        Assert.Equal("\"ein Bär\\n\"", ReadableJson.Quote("ein Bär\n"));
    }

    [Fact]
    public void A_record_is_written_as_its_description_says() =>
        Assert.Contains("\"ein Bär\"", ReadableJson.Serialize(new StrictSample { Note = "ein Bär" }, StrictSampleJson.Default.StrictSample), StringComparison.Ordinal);
}
