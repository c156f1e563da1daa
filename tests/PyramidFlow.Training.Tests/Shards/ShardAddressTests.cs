using PyramidFlow.Testing;
using PyramidFlow.Training.Shards;

namespace PyramidFlow.Training.Tests.Shards;

public sealed class ShardAddressTests
{
    [Theory]
    [InlineData("/d/a.tar", "/d/a.tar")]
    [InlineData("/d/a-{08..11}.tar", "/d/a-08.tar /d/a-09.tar /d/a-10.tar /d/a-11.tar")]
    [InlineData("/d/a-{8..11}.tar", "/d/a-8.tar /d/a-9.tar /d/a-10.tar /d/a-11.tar")]
    [InlineData("/d{0..1}/a-{0..1}.tar", "/d0/a-0.tar /d0/a-1.tar /d1/a-0.tar /d1/a-1.tar")]
    [InlineData("/d/{x}-{1..}.tar", "/d/{x}-{1..}.tar")]
    [InlineData("https://me:word@host.org:81/p/a-{0..1}.tar?key=1#x", "https://host.org:81/p/a-0.tar https://host.org:81/p/a-1.tar")]
    public void Ranges_stand_for_all_numbers(string source, string expected)
    {
        Assert.True(ShardAddress.IsShard(source));
        Assert.Equal(expected.Split(' '), ShardAddress.Expand(source).Select(address => address.Name));
    }

    [Fact]
    public void What_may_be_secret_is_in_no_name()
    {
        var address = Assert.Single(ShardAddress.Expand("HTTPS://me:p%40ss@host.org/p@q/a.tar?key=1"));
        Assert.Equal(("https://host.org/p@q/a.tar", "https://host.org/p@q/a.tar?key=1"), (address.Name, address.Remote!.AbsoluteUri));
        Assert.Equal("me:p@ss"u8, Convert.FromBase64String(address.Credentials!));
        Assert.Equal("https://host.org/a-{0..1}.tar", ShardAddress.Shown("https://me:p@ss@host.org/a-{0..1}.tar?key=1"));
        Assert.Equal("https://host.org", ShardAddress.Shown("https://me@host.org?x=1"));
        // A password that was not escaped. An @ in a path hides what is before it.
        Assert.Equal("https://host.org/a.tar", ShardAddress.Shown("https://me:pa/s?s#w@host.org/a.tar"));
        Assert.Equal("https://y.tar", ShardAddress.Shown("https://host.org/x@y.tar"));
        Assert.Equal("/a@b/c.tar?d", ShardAddress.Shown("/a@b/c.tar?d"));
    }

    [Theory]
    [InlineData("/d/a-{2..1}.tar", "shard_range_invalid", "range={2..1}")]
    [InlineData("/d/a-{01..100}.tar", "shard_range_invalid", "range={01..100}")]
    [InlineData("/d/a-{0..999999999}.tar", "shards_too_many", "most=100000")]
    [InlineData("/d/a-{000..999}-{000..999}.tar", "shards_too_many", "most=100000")]
    [InlineData("https://host/get.tar?part={0..3}", "shards_of_one_name", "source=https://host/get.tar")]
    [InlineData("https://me:word@host/a.zip?x", "shard_address_invalid", "address=https://host/a.zip")]
    [InlineData("https://me:word@/a.tar", "shard_address_invalid", "address=https:///a.tar")]
    public void Impossible_names_are_refused(string source, string code, string parameter) =>
        FaultAssert.Has(Assert.Throws<TrainingException>(() => ShardAddress.Expand(source)), code, parameter);
}
