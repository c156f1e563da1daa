using PyramidFlow.Hub.Downloads;
using PyramidFlow.Testing;

namespace PyramidFlow.Tests.Hub.Downloads;

public sealed class HubEndpointTests
{
    [Fact]
    public void Nothing_set_is_the_hub_without_a_token()
    {
        using var folder = new TemporaryFolder();
        var hub = Of(("HOME", folder.Path));
        Assert.Equal("https://huggingface.co/", hub.Address.AbsoluteUri);
        Assert.Null(hub.Token);
    }

    [Fact]
    public void A_variable_comes_before_the_older_one_and_before_the_file()
    {
        using var folder = new TemporaryFolder();
        folder.Write("token", "of-file\n");
        Assert.Equal("of-file", Of(("HF_HOME", folder.Path)).Token);
        Assert.Equal("old", Of(("HF_HOME", folder.Path), ("HUGGING_FACE_HUB_TOKEN", "old")).Token);
        Assert.Equal("new", Of(("HF_HOME", folder.Path), ("HUGGING_FACE_HUB_TOKEN", "old"), ("HF_TOKEN", " new ")).Token);
    }

    [Fact]
    public void The_file_of_the_home_folder_is_found()
    {
        using var folder = new TemporaryFolder();
        folder.Write(".cache/huggingface/token", "mine");
        Assert.Equal("mine", Of(("HOME", folder.Path)).Token);
    }

    [Theory]
    [InlineData("ftp://x")]
    [InlineData("huggingface.co")]
    public void An_address_that_is_none_is_refused(string address) =>
        FaultAssert.Is(Assert.Throws<HubException>(() => Of(("HF_ENDPOINT", address))), "bad_address", ("address", address));

    [Fact]
    public void A_token_that_is_none_is_refused_and_not_shown()
    {
        var error = Assert.Throws<HubException>(() => Of(("HF_TOKEN", "se\ncret")));
        FaultAssert.Is(error, "bad_token");
        Assert.DoesNotContain("cret", error.Message, StringComparison.Ordinal);
        Assert.Empty(error.Parameters);
    }

    [Fact]
    public void A_mirror_below_a_path_keeps_its_path() =>
        Assert.Equal("http://mirror:8080/hf/", Of(("HF_ENDPOINT", "http://mirror:8080/hf")).Address.AbsoluteUri);

    private static HubEndpoint Of(params (string Name, string Value)[] variables) =>
        HubEndpoint.FromEnvironment(name => variables.FirstOrDefault(variable => variable.Name == name).Value);
}
