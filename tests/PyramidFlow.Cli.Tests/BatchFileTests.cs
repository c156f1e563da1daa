using System.Text;
using PyramidFlow.Cli.Generating;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Testing;

namespace PyramidFlow.Cli.Tests;

public class BatchFileTests
{
    [Theory]
    [InlineData("many.txt")]
    [InlineData("many.jsonl")]
    [InlineData("many.json")]
    [InlineData("keys.json")]
    public async Task A_hundred_thousand_prompts_are_found_and_each_can_be_read(string name)
    {
        using var folder = new TemporaryFolder();
        var path = folder.File(name);
        var items = Enumerable.Range(0, 100_000).Select(i => name switch
        {
            "many.txt" => $"ball {i}",
            "many.jsonl" => $"{{\"prompt\": \"ball {i}\"}}",
            "many.json" => $"{(i == 0 ? "[" : ",")}\"ball {i}\"{(i == 99_999 ? "]" : "")}",
            _ => $"{(i == 0 ? "{" : ",")}\"key {i}\": \"ball {i}\"{(i == 99_999 ? "}" : "")}",
        });
        await File.WriteAllLinesAsync(path, items, TestContext.Current.CancellationToken);

        var batch = BatchFile.Open(path);

        Assert.Equal(100_000, batch.Entries.Count);
        Assert.Equal(100_000, batch.Entries[^1].Line);
        var names = new FileNames();
        for (var i = 0; i < 100_000; i++)
        {
            var item = batch.Read(batch.Entries[i]);
            Assert.Equal($"ball {i}", item.Clip.Prompt);
            Assert.Equal(name == "keys.json" ? $"key {i}.mp4" : $"{i + 1:D4}-ball-{i}.mp4", names.Next(i + 1, item, ".mp4"));
        }
    }

    [Theory]
    [InlineData("a/b\\c:d*e?f\"g<h>i|j", "a-b-c-d-e-f-g-h-i-j.mp4")]
    [InlineData("...", "0001.mp4")]
    [InlineData("..", "0001.mp4")]
    [InlineData(".hidden", "hidden.mp4")]
    [InlineData("/etc/passwd", "etc-passwd.mp4")]
    [InlineData("line\nbreak", "line-break.mp4")]
    [InlineData("COM1.x", "COM1.x_.mp4")]
    [InlineData("v1.2", "v1.2.mp4")]
    [InlineData("clip.GIF", "clip.gif")]
    [InlineData("красный шар", "красный шар.mp4")]
    [InlineData("", "0001.mp4")]
    public void A_name_is_made_safe(string name, string expected) =>
        Assert.Equal(expected, new FileNames().Next(1, new BatchItem(new ClipArguments { Prompt = "ball" }, name), ".mp4"));

    [Theory]
    [InlineData("A small red circle, moving right on a black background!", "0001-a-small-red-circle-moving-right-on-a-black.mp4")]
    [InlineData("  ... ?!", "0001.mp4")]
    [InlineData("Ein Löwe & 2 Bären", "0001-ein-löwe-2-bären.mp4")]
    [InlineData("twelve letters and then exactly forty-eight of it!", "0001-twelve-letters-and-then-exactly-forty-eight-of.mp4")]
    public void The_beginning_of_a_prompt_is_a_name_of_whole_words(string prompt, string expected) =>
        Assert.Equal(expected, new FileNames().Next(1, new BatchItem(new ClipArguments { Prompt = prompt }, null), ".mp4"));

    [Fact]
    public void Long_and_equal_names_stay_apart_and_within_what_a_file_system_takes()
    {
        var names = new FileNames();
        var made = new[] { new string('x', 500) + "1", new string('x', 500) + "2", "a:b", "a/b", "A-B" }
            .Select(name => names.Next(1, new BatchItem(new ClipArguments(), name), ".mp4")).ToList();

        Assert.Equal(made.Count, made.Distinct(StringComparer.OrdinalIgnoreCase).Count());
        Assert.All(made, name => Assert.InRange(Encoding.UTF8.GetByteCount(name), 1, 150));
        Assert.Equal("a-b.mp4", made[2]);
        Assert.InRange(Encoding.UTF8.GetByteCount(new FileNames().Next(1, new BatchItem(new ClipArguments { Prompt = new string('球', 500) }, null), ".mp4")), 30, 60);
    }

    [Fact]
    public void A_name_that_stands_twice_is_refused()
    {
        var names = new FileNames();
        var item = new BatchItem(new ClipArguments(), "a");
        names.Next(1, item, ".mp4");
        names.Next(2, item, ".mp4");
        FaultAssert.Is(Assert.Throws<UsageException>(() => names.Next(3, item, ".mp4")), "item_name_repeated", ("name", "a"));
    }

    [Theory]
    [InlineData("5", "item_kind")]
    [InlineData("{\"prompt\": \"a\"", "item_malformed")]
    [InlineData("{\"seed\": 1, \"seed\": 2}", "item_key_twice", "key=seed")]
    [InlineData("{\"promt\": \"a\"}", "item_key_unknown", "key=promt near=prompt")]
    [InlineData("{\"prompt\": \"a\", \"seed\": -5}", "item_value_invalid", "key=seed value=-5")]
    [InlineData("{\"prompt\": \"a\", \"name\": 5}", "item_value_invalid", "key=name value=5")]
    [InlineData("{\"prompt\": \"a\", \"width\": 64}", "item_side_alone", "side=width")]
    public void An_item_that_cannot_be_is_refused(string line, string code, string parameters = "")
    {
        using var folder = new TemporaryFolder();
        var batch = BatchFile.Open(folder.Write("a.jsonl", line));
        FaultAssert.Has(Assert.Throws<UsageException>(() => batch.Read(Assert.Single(batch.Entries))), code, parameters);
    }
}
