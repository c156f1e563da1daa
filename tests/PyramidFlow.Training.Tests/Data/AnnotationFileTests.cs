using PyramidFlow.Testing;
using PyramidFlow.Training.Data;

namespace PyramidFlow.Training.Tests.Data;

public sealed class AnnotationFileTests : IDisposable
{
    private readonly MediaFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Fact]
    public void Reads_lines_as_released_and_sees_paths_from_the_files_folder()
    {
        var path = folder.Annotate(
            """{"video": "clips/a.mp4", "text": "the serene beauty of a valley", "latent": "clips/a-latent-384-2.pt", "text_fea": "/features/a-text.pt", "frames": [4, 0, 2, 2], "duration": 3}""",
            "",
            """{"image": "b.jpg", "text": ""}""");

        var items = MediaFolder.Read(path);

        Assert.Equal(2, items.Count);
        Assert.Equal(folder.File("clips", "a.mp4"), items[0].Video);
        Assert.Equal(folder.File("clips", "a-latent-384-2.pt"), items[0].Latent);
        Assert.Equal("/features/a-text.pt", items[0].TextFeatures);
        Assert.Equal([0, 2, 4], items[0].Frames!);
        Assert.Equal((3, "", null), (items[1].Line, items[1].Text, items[1].Video));
        Assert.Equal(folder.File("b.jpg"), items[1].Image);
    }

    [Theory]
    [InlineData("{\"video\": \"a.mp4\"", "line_malformed")]
    [InlineData("[1, 2]", "line_not_object")]
    [InlineData("{\"size\": 3}", "line_empty")]
    [InlineData("{\"video\": \"a.mp4\", \"image\": \"b.png\"}", "video_and_image")]
    [InlineData("{\"video\": 3}", "value_not_text", "key=video")]
    [InlineData("{\"video\": \"\\ud800\"}", "line_malformed", "key=video")]
    [InlineData("{\"\\ud800\": 1, \"video\": \"a.mp4\"}", "line_malformed", "key=")]
    [InlineData("{\"video\": \"a\\u0000.mp4\"}", "value_with_nul", "key=video")]
    [InlineData("{\"video\": \"a.mp4\", \"frames\": [NaN]}", "frame_number_invalid", "value=NaN")]
    [InlineData("{\"video\": \"\"}", "path_empty", "key=video")]
    [InlineData("{\"video\": \"a.mp4\", \"frames\": 16}", "frames_not_list")]
    [InlineData("{\"video\": \"a.mp4\", \"frames\": [0, -1]}", "frame_number_invalid", "value=-1")]
    public void A_malformed_line_is_named_with_file_and_line(string line, string code, string parameters = "")
    {
        var path = folder.Annotate(new { video = "a.mp4" }, "", line);

        var error = Assert.Throws<TrainingException>(() => MediaFolder.Read(path));

        FaultAssert.Is(error, "line_invalid", ("file", path), ("line", 3));
        FaultAssert.Has(Assert.IsType<TrainingException>(error.InnerException), code, parameters);
    }

    [Fact]
    public void What_Python_writes_is_read()
    {
        var path = folder.File("python.jsonl");
        File.WriteAllBytes(path, [0xEF, 0xBB, 0xBF, .. "{\"video\": \"a.mp4\", \"score\": NaN, \"more\": [Infinity, -Infinity], \"frames\": [0.0, 2.0], \"text\": \"x\", \"text\": \"caf\u00e9\"}\r\n"u8]);
        var item = Assert.Single(MediaFolder.Read(path));
        Assert.Equal("caf\u00e9", item.Text);
        Assert.Equal([0, 2], item.Frames!);
    }

    [Fact]
    public void Text_that_is_not_UTF8_is_named_with_its_line_and_never_altered()
    {
        var path = folder.File("latin1.jsonl");
        File.WriteAllBytes(path, [.. "{\"text\": \"fine\"}\n{\"text\": \"caf"u8, 0xE9, .. "\"}\n"u8]);
        var (items, faults) = AnnotationFile.Scan(path);
        Assert.Equal("fine", Assert.Single(items).Text);
        Assert.Equal(2, Assert.Single(faults).Line);
        FaultAssert.Is(faults[0].Error, "line_malformed");
        File.WriteAllBytes(path, System.Text.Encoding.Unicode.GetPreamble().Concat(System.Text.Encoding.Unicode.GetBytes("{\"text\": \"fine\"}\n")).ToArray());
        FaultAssert.Is(Assert.Throws<TrainingException>(() => MediaFolder.Read(path)), "line_invalid", ("file", path), ("line", 1));
    }

    [Fact]
    public void A_missing_or_empty_file_says_so()
    {
        FaultAssert.Is(Assert.Throws<TrainingException>(() => MediaFolder.Read(folder.File("none.jsonl"))), "annotations_missing", ("file", folder.File("none.jsonl")));
        var blank = folder.Annotate("", "  ");
        FaultAssert.Is(Assert.Throws<TrainingException>(() => MediaFolder.Read(blank)), "annotations_empty", ("file", blank));
    }

    [Fact]
    public void A_scan_keeps_the_good_lines_and_names_every_bad_one()
    {
        var (items, faults) = AnnotationFile.Scan(folder.Annotate(new { video = "a.mp4" }, "nonsense", new { image = "b.png" }, "{}"));

        Assert.Equal([1, 3], items.Select(item => item.Line));
        Assert.Equal([2, 4], faults.Select(fault => fault.Line));
        Assert.All(faults, fault => Assert.Equal(DataFaultKind.Line, fault.Kind));
    }
}
