using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Torch.Tests.Formats;

public sealed class StrictJsonTests
{
    private static readonly StrictJsonOptions Written = new(Written: true);

    [Theory]
    [InlineData("""{"a":"cut \ud83d"}""")]
    [InlineData("""{"a":"cut \ude00 low first"}""")]
    [InlineData("""{"cut \ud83d":1}""")]
    [InlineData("""{"a":[{"b":"\udc00"}]}""")]
    public void Half_a_character_is_refused_wherever_it_stands(string json)
    {
        var fault = Assert.Throws<MalformedTextException>(() => StrictJson.Parse(json));
        Assert.Contains("half of a character", fault.Reason);
    }

    [Fact]
    public void Whole_pairs_are_read()
    {
        using var json = StrictJson.Parse("""{"\ud83d\ude00":"\ud83d\ude00"}""");
        Assert.Equal("😀", json.RootElement.GetProperty("😀").GetString());
    }

    [Fact]
    public void Bytes_that_are_no_UTF8_are_refused_with_their_line()
    {
        var fault = Assert.Throws<MalformedTextException>(() => StrictJson.Parse((byte[])[.. "{\n\"a\":\"caf"u8, 0xE9, .. "\"}"u8], Written));
        Assert.Equal(2, fault.Line);
        Assert.Contains("UTF-8", fault.Message);
    }

    [Fact]
    public void A_byte_order_mark_is_let_pass()
    {
        using var json = StrictJson.Parse((byte[])[0xEF, 0xBB, 0xBF, .. "{\"a\":1}"u8]);
        Assert.Equal(1, json.RootElement.GetProperty("a").GetInt32());
    }

    [Fact]
    public void A_key_that_stands_twice_is_refused_where_it_may_not()
    {
        const string Json = """{"a":{"b":1},"c":{"b":1},"a":2}""";
        Assert.Equal("a", Assert.Throws<MalformedTextException>(() => StrictJson.Parse(Json)).Key);
        using var json = StrictJson.Parse(Json, new StrictJsonOptions(RepeatedKeys: true));
        Assert.Equal(2, json.RootElement.GetProperty("a").GetInt32());
    }

    [Theory]
    [InlineData("{\n\"a\":1,\n\"a\":2}", 3, "the key a stands twice")]
    [InlineData("{\n\"a\":\"\\ud83d\"}", 2, "a: this holds half")]
    [InlineData("{\n\n\"a\":\"x\\u0000\"}", 3, "a holds a NUL")]
    [InlineData("[\n\"x\\u0000\"]", 2, "this holds a NUL")]
    [InlineData("{\n\n\"a\":}", 3, "not JSON")]
    public void A_fault_is_named_with_its_line_in_files_that_people_write_only(string json, int line, string reason)
    {
        var fault = Assert.Throws<MalformedTextException>(() => StrictJson.Parse(json, Written));
        Assert.Equal(line, fault.Line);
        Assert.StartsWith(FormattableString.Invariant($"line {line}: "), fault.Message);
        Assert.Contains(reason, fault.Message);
        if (!reason.Contains("NUL", StringComparison.Ordinal))
            Assert.Equal(0, Assert.Throws<MalformedTextException>(() => StrictJson.Parse(json)).Line);
    }

    [Theory]
    [InlineData("sizes[1]", 4)]
    [InlineData("inner.count", 6)]
    [InlineData("inner.name", 5)]
    [InlineData("sizes[7]", 2)]
    [InlineData("none", 1)]
    public void A_key_is_found_behind_its_neighbours_and_a_missing_one_by_its_parent(string key, int line) =>
        Assert.Equal(line, StrictJson.LineOf("{\n\"sizes\": [[\"a\"],\n\n\"b\"],\n\"inner\": {\"kind\": {\"count\": 1},\n\"count\": 2}}"u8.ToArray(), key));

    [Fact]
    public void Numbers_as_Python_writes_them_are_read()
    {
        using var json = StrictJson.Parse("""{"frames":7.0,"x":-0.50,"big":1.0e3,"n":NaN,"l":[Infinity,-Infinity],"text":"NaN 7.0 \" Infinity"}""");
        var root = json.RootElement;
        Assert.Equal(7, root.GetProperty("frames").GetInt32());
        Assert.Equal(-0.5, root.GetProperty("x").GetDouble());
        Assert.Equal(1000, root.GetProperty("big").GetDouble());
        Assert.Equal(JsonValueKind.Object, root.GetProperty("n").ValueKind);
        Assert.Equal("NaN 7.0 \" Infinity", root.GetProperty("text").GetString());
    }

    [Fact]
    public void Comments_are_let_pass_in_written_files_only()
    {
        const string Json = """
            { // it is 7.0, not "NaN
              /* NaN " */ "a": 7.0,
            }
            """;
        using var json = StrictJson.Parse(Json, Written);
        Assert.Equal(7, json.RootElement.GetProperty("a").GetInt32());
        Assert.Throws<MalformedTextException>(() => StrictJson.Parse(Json));
    }

    [Theory]
    [InlineData("""{"count":"4"}""", "count", "a whole number")]
    [InlineData("""{"count":NaN}""", "count", "cannot be NaN: it is a whole number")]
    [InlineData("""{"name":-Infinity}""", "name", "cannot be -Infinity: it is a text")]
    [InlineData("""{"sizes":[NaN]}""", "sizes[0]", "cannot be NaN: it is a text")]
    [InlineData("""{NaN:1}""", "", "not JSON")]
    [InlineData("""{"kind":"blue"}""", "kind", "one of red_one, green_one")]
    [InlineData("""{"sizes":"64"}""", "sizes", "a list, each item a text in quotes")]
    [InlineData("""{"sizes":[4]}""", "sizes[0]", "a text in quotes")]
    [InlineData("""{"sizes":["a",null]}""", "sizes[1]", "a text in quotes")]
    [InlineData("""{"name":null}""", "name", "a text in quotes")]
    [InlineData("""{"count":null}""", "count", "a whole number")]
    [InlineData("""{"inner":{"inner":{"count":true}}}""", "inner.inner.count", "a whole number")]
    [InlineData("""{"inner":3}""", "inner", "an object")]
    [InlineData("null", "", "an object")]
    public void A_value_of_the_wrong_kind_is_named_with_what_is_allowed(string json, string key, string allowed)
    {
        var fault = Assert.Throws<MalformedTextException>(() => StrictJson.Deserialize(Encoding.UTF8.GetBytes(json), StrictSampleJson.Default.StrictSample));
        Assert.Equal(key, fault.Key ?? "");
        Assert.Contains(allowed, fault.Message);
        Assert.DoesNotContain("System", fault.Message);
        Assert.DoesNotContain("Path", fault.Message);
    }

    [Theory]
    [InlineData("{\n\"inner\": {\n\"count\": true } }", 3)]
    [InlineData("{ // one\n\"sizes\": [\"a\",\n\n4], \"note\": 7.0 }", 4)]
    [InlineData("{\n\"inner\": { \"sizes\": [\"a\"], \"kind\":\n\"blue\" } }", 2)]
    public void A_value_of_the_wrong_kind_is_named_with_its_line_in_files_that_people_write(string json, int line) =>
        Assert.Equal(line, Assert.Throws<MalformedTextException>(() => StrictJson.Deserialize(Encoding.UTF8.GetBytes(json), StrictSampleJson.Default.StrictSample, Written)).Line);

    [Fact]
    public void Comments_and_trailing_commas_do_not_keep_a_record_from_being_read() =>
        Assert.Equal(7, StrictJson.Deserialize("{ /* one */ \"count\": 7.0, // two\n }"u8.ToArray(), StrictSampleJson.Default.StrictSample, Written).Count);

    [Fact]
    public void NUL_is_refused_in_files_that_people_write()
    {
        const string Json = """{"a":"x\u0000"}""";
        Assert.Contains("NUL", Assert.Throws<MalformedTextException>(() => StrictJson.Parse(Json, Written)).Reason);
        using var json = StrictJson.Parse(Json);
    }

    [Fact]
    public void Members_are_given_as_they_are_written()
    {
        var json = """ { "a" : [1, {"b": "}]"}] , "\u0062":NaN,"c": "x\"}" , "d":-7.0 } """u8.ToArray();
        var members = StrictJson.Members(json);
        Assert.Equal(["a", "b", "c", "d"], members.Select(member => member.Name));
        Assert.Equal(["[1, {\"b\": \"}]\"}]", "NaN", "\"x\\\"}\"", "-7.0"], members.Select(member => Encoding.UTF8.GetString(json[member.Value])));
        Assert.Equal("\"\\u0062\"", Encoding.UTF8.GetString(json[members[1].Key]));
    }

    [Fact]
    public void Nulls_are_read_where_a_record_takes_them()
    {
        var sample = StrictJson.Deserialize("""{"note":null,"inner":null,"maybe":null,"count":3.0,"unknown":null}"""u8.ToArray(), StrictSampleJson.Default.StrictSample);
        Assert.Equal(3, sample.Count);
        Assert.Null(sample.Note);
    }
}

public enum StrictSampleKind { RedOne, GreenOne }

public sealed record StrictSample
{
    public string Name { get; init; } = "";
    public string? Note { get; init; }
    public int Count { get; init; }
    public int? Maybe { get; init; }
    public StrictSampleKind Kind { get; init; }
    public IReadOnlyList<string> Sizes { get; init; } = [];
    public StrictSample? Inner { get; init; }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, UseStringEnumConverter = false, Converters = [typeof(StrictSampleKindConverter)])]
[JsonSerializable(typeof(StrictSample))]
internal sealed partial class StrictSampleJson : JsonSerializerContext;

public sealed class StrictSampleKindConverter() : JsonStringEnumConverter<StrictSampleKind>(JsonNamingPolicy.SnakeCaseLower);
