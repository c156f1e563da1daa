using PyramidFlow.Hub.Downloads;
using PyramidFlow.Testing;

namespace PyramidFlow.Tests.Hub.Downloads;

public sealed class DownloadPlanTests
{
    [Fact]
    public async Task Only_the_files_of_the_variant_are_taken_and_each_weight_once()
    {
        using var test = new DownloadCase();
        var plan = await test.PlanAsync();
        Assert.Equal(
        [
            "causal_video_vae/config.json", "causal_video_vae/diffusion_pytorch_model.safetensors",
            "diffusion_transformer_384p/config.json", "diffusion_transformer_384p/diffusion_pytorch_model.safetensors",
            "text_encoder/config.json", "text_encoder/model.safetensors",
            "text_encoder_2/config.json", "text_encoder_2/model-00001-of-00002.safetensors", "text_encoder_2/model-00002-of-00002.safetensors", "text_encoder_2/model.safetensors.index.json",
            "tokenizer/merges.txt", "tokenizer/vocab.json", "tokenizer_2/tokenizer.json",
        ],
        plan.Files.Select(file => file.Path).Order(StringComparer.Ordinal));
        Assert.Equal(["768p"], plan.Others);
        Assert.Equal(plan.Files.Sum(file => test.Repository[file.Path].Length), plan.TotalBytes);
    }

    [Fact]
    public async Task Without_a_wish_the_first_variant_is_taken_and_another_can_be_asked_for()
    {
        using var test = new DownloadCase();
        Assert.Equal("384p", (await test.PlanAsync(null)).Variant);
        Assert.Contains((await test.PlanAsync("768p")).Files, file => file.Folder == "diffusion_transformer_768p");
    }

    [Fact]
    public async Task A_list_of_many_pages_is_read_to_its_end_from_one_host()
    {
        using var test = new DownloadCase(pageSize: 3);
        Assert.Equal(13, (await test.PlanAsync()).Files.Count);
        Assert.Equal(7, test.Repository.Server.Requests.Count);
    }

    [Fact]
    public async Task A_variant_that_is_not_there_is_refused_with_those_that_are()
    {
        using var test = new DownloadCase();
        var error = await Assert.ThrowsAsync<HubException>(() => test.PlanAsync("image"));
        FaultAssert.Is(error, "no_such_variant", ("repository", HubRepository.Name), ("variant", "image"), ("known", "384p, 768p"));
    }

    [Theory]
    [InlineData("../up.json", null)]
    [InlineData("a/../../up.json", null)]
    [InlineData("/etc/passwd", null)]
    [InlineData("a//b", null)]
    [InlineData("a/./b", null)]
    [InlineData("C:\\x", null)]
    [InlineData("a/\u001b[2J\n.json", "a/\\u001b[2J\\u000a.json")]
    [InlineData("a/\u202egnp.json", null)]
    [InlineData("", null)]
    public async Task A_hostile_name_is_refused_and_shown_without_harm(string name, string? shown)
    {
        using var test = new DownloadCase();
        test.Repository.Lie = (key, entry) => key == "README.md" ? entry with { Path = name } : entry;
        var error = await Assert.ThrowsAsync<HubException>(() => test.PlanAsync());
        FaultAssert.Is(error, "unsafe_path", ("repository", HubRepository.Name), ("file", shown ?? name.Replace("\u202e", "\\u202e", StringComparison.Ordinal)));
        Assert.DoesNotContain(error.Message, char.IsControl);
    }

    [Theory]
    [InlineData(-1)]
    [InlineData(long.MaxValue)]
    public async Task An_absurd_size_is_refused(long size)
    {
        using var test = new DownloadCase();
        test.Repository.Lie = (key, entry) => key == DownloadCase.Weights ? entry with { Size = size } : entry;
        FaultAssert.Is(await Assert.ThrowsAsync<HubException>(() => test.PlanAsync()), "absurd_size", ("file", DownloadCase.Weights), ("bytes", size));
    }

    [Theory]
    [InlineData("[{\"type\":\"file\"}]")]
    [InlineData("{}")]
    [InlineData("<html>")]
    [InlineData("[{\"type\":\"file\",\"path\":\"a\",\"size\":\"x\"}]")]
    public void A_damaged_list_is_refused(string json) =>
        FaultAssert.Is(Assert.Throws<HubException>(() => HubListing.Parse(System.Text.Encoding.UTF8.GetBytes(json), "a/b")), "damaged_list", ("repository", "a/b"));

    [Theory]
    [InlineData("model")]
    [InlineData("a/b/c")]
    [InlineData("../b")]
    [InlineData("a/..")]
    [InlineData("a/b?x")]
    [InlineData("a/b\n")]
    public void What_is_no_repository_is_refused(string name) =>
        FaultAssert.Is(Assert.Throws<HubException>(() => new HubSource(name)), "bad_repository", ("repository", name));

    [Fact]
    public async Task A_repository_that_lacks_a_part_is_refused()
    {
        using var test = new DownloadCase();
        test.Repository.Lie = (key, entry) => key.StartsWith("tokenizer_2", StringComparison.Ordinal) ? entry with { Path = "other/x" } : entry;
        FaultAssert.Is(await Assert.ThrowsAsync<HubException>(() => test.PlanAsync()), "incomplete", ("repository", HubRepository.Name), ("part", "tokenizer_2"));
    }
}
