using PyramidFlow.Media;
using PyramidFlow.Testing;

namespace PyramidFlow.Tests.Media;

public sealed class FfmpegToolsTests
{
    [Theory]
    [InlineData(null, "ffmpeg", "ffprobe")]
    [InlineData("", "ffmpeg", "ffprobe")]
    [InlineData("/opt/ff/ffmpeg", "/opt/ff/ffmpeg", "/opt/ff/ffprobe")]
    [InlineData("/opt/ffmpeg/ffmpeg-7", "/opt/ffmpeg/ffmpeg-7", "/opt/ffmpeg/ffprobe-7")]
    [InlineData("ffmpeg7", "ffmpeg7", "ffprobe7")]
    public void The_environment_names_both_programs(string? value, string ffmpeg, string ffprobe) =>
        Assert.Equal(new FfmpegTools(ffmpeg, ffprobe), FfmpegTools.From(value));

    [Fact]
    public async Task The_version_is_read() => Assert.StartsWith("ffmpeg version ",
        await FfmpegTools.FromEnvironment().ReadVersionAsync(TestContext.Current.CancellationToken));

    [Fact]
    public async Task However_much_a_program_complains_only_the_end_is_kept()
    {
        await using var process = FfmpegProcess.Start("sh",
            ["-c", "i=0; while [ $i -lt 5000 ]; do echo \"[x @ 0x12] line $i\" >&2; i=$((i+1)); done; exit 1"],
            TestContext.Current.CancellationToken);

        var error = await Assert.ThrowsAsync<MediaException>(() => process.WaitAsync("it failed"));

        FaultAssert.Is(error, "program_failed", ("failure", "it failed"), ("reason", "line 4998; line 4999"));
    }
}
