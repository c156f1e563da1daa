using System.Text;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Http;
using PyramidFlow.Testing;

namespace PyramidFlow.Server.Tests;

/// <summary>The large text of a JSON body, taken out while it is read.</summary>
public sealed class JsonBodyTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("""{"prompt":"a","input_reference":"data:x"}""", """{"prompt":"a","input_reference":""}""", "data:x")]
    [InlineData("""{ "input_reference" : { "image_url" : "data:x" } , "seed":1}""", """{ "input_reference" : { "image_url" : "" } , "seed":1}""", "data:x")]
    [InlineData("""{"input\u005freference":"a\/b\u002b\"\\"}""", """{"input\u005freference":""}""", "a/b+\"\\")]
    [InlineData("""{"a":["input_reference","x"],"b":{"input_reference":"y"},"image_url":"z"}""", null, null)]
    [InlineData("""{"input_reference":{"other":{"image_url":"x"}}}""", null, null)]
    [InlineData("""{"input_reference":["image_url","x",{"image_url":"y"}]}""", null, null)]
    [InlineData("""{"prompt":"\"input_reference\":\"x\\","b":1}""", null, null)]
    [InlineData("""["input_reference","x"]""", null, null)]
    [InlineData("}}{\"input_reference\"", null, null)]
    public async Task Only_the_picture_is_taken_out_however_the_bytes_come(string json, string? rest, string? picture)
    {
        foreach (var size in new[] { 1, 3, 1 << 16 })
        {
            string? taken = null;
            var kept = await new JsonBody(new Drops(Encoding.UTF8.GetBytes(json), size), 1000).ReadAsync(async text =>
            {
                using var all = new MemoryStream();
                await text.CopyToAsync(all, Cancel);
                taken = Encoding.UTF8.GetString(all.ToArray());
            }, Cancel);
            Assert.Equal((rest ?? json, picture), (Encoding.UTF8.GetString(kept.Span), taken));
        }
    }

    [Theory]
    [InlineData("{\"input_reference\":\"data:", ServiceFault.EndsTooEarly)]
    [InlineData("{\"input_reference\":\"a\\", ServiceFault.EndsTooEarly)]
    [InlineData("{\"input_reference\":\"a\nb\"}", ServiceFault.ControlCharacter)]
    [InlineData("{\"input_reference\":\"\\x\"}", ServiceFault.NeedlessBackslash)]
    [InlineData("{\"input_reference\":\"\\u00g0\"}", ServiceFault.DigitsMissing)]
    public async Task A_damaged_picture_is_named(string json, string reason)
    {
        var fault = await Assert.ThrowsAsync<JobException>(() => new JsonBody(new Drops(Encoding.UTF8.GetBytes(json), 2), 1000).ReadAsync(text => text.CopyToAsync(Stream.Null, Cancel), Cancel));
        FaultAssert.Is(fault, "reference_damaged", ("reason", reason));
        Assert.Equal((JobFaultKind.Invalid, "input_reference"), (fault.Kind, fault.Field));
    }

    [Fact]
    public async Task Fields_beyond_the_limit_and_deep_nesting_are_refused()
    {
        var large = await FaultAsync($"{{\"prompt\":\"{new string('a', 2000)}\"}}");
        Assert.Equal(JobFaultKind.TooLarge, large.Kind);
        FaultAssert.Is(large, "body_too_large", ("most_kib", 1));
        FaultAssert.Is(await FaultAsync(new string('[', 65)), "body_too_deep", ("most", 64));

        static Task<JobException> FaultAsync(string json) =>
            Assert.ThrowsAsync<JobException>(() => new JsonBody(new Drops(Encoding.UTF8.GetBytes(json), 100), 1 << 10).ReadAsync(_ => Task.CompletedTask, Cancel));
    }

    [Fact]
    public async Task A_picture_of_any_size_takes_no_memory()
    {
        const int megabytes = 64;
        byte[] start = [.. "{\"prompt\":\"a\",\"input_reference\":\""u8], end = [.. "\"}"u8];
        var body = new Drops([.. start, .. new byte[1 << 20].Select(_ => (byte)'A'), .. end], 1 << 14) { Repeat = (start.Length, 1 << 20, megabytes) };
        var (count, buffer) = (0L, new byte[1 << 14]);
        var before = GC.GetAllocatedBytesForCurrentThread();
        await new JsonBody(body, 1000).ReadAsync(async text =>
        {
            for (int read; (read = await text.ReadAsync(buffer, Cancel)) > 0;)
                count += read;
        }, Cancel);

        Assert.Equal((long)megabytes << 20, count);
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 4 << 20);
    }

    // Bytes that come a few at a time; a part of them may come again and again.
    private sealed class Drops(byte[] bytes, int size) : Storage.ReadOnlyStream
    {
        private int at, rounds;

        public (int Start, int Length, int Count) Repeat { get; init; }

        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            if (Repeat.Count > 0 && at == Repeat.Start + Repeat.Length && ++rounds < Repeat.Count)
                at = Repeat.Start;
            var most = Repeat.Count > 0 && at < Repeat.Start + Repeat.Length ? Repeat.Start + Repeat.Length - at : bytes.Length - at;
            var count = Math.Min(Math.Min(size, buffer.Length), most);
            bytes.AsMemory(at, count).CopyTo(buffer);
            at += count;
            return ValueTask.FromResult(count);
        }
    }
}
