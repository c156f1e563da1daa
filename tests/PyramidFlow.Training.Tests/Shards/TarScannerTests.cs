using System.Formats.Tar;
using PyramidFlow.Training.Shards;

namespace PyramidFlow.Training.Tests.Shards;

/// <summary>Headers of tar archives, good ones and hostile ones.</summary>
public sealed class TarScannerTests
{
    private static readonly string Long = new string('d', 90) + "/" + new string('e', 90) + "/x.mp4";

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(TarEntryFormat.V7)]
    [InlineData(TarEntryFormat.Ustar)]
    [InlineData(TarEntryFormat.Pax)]
    [InlineData(TarEntryFormat.Gnu)]
    public async Task Members_of_every_format_are_found(TarEntryFormat format)
    {
        var isOld = format == TarEntryFormat.V7;
        var archive = TarBuilder.Write(format, ("./a.mp4", new byte[1000]), ("a.txt", [.. "ein Ball"u8]), (isOld ? "d/x.mp4" : Long, new byte[512]), (isOld ? "g.png" : "größe.png", [1, 2, 3]));

        var (members, damage) = await ScanAsync(archive);

        Assert.Null(damage);
        Assert.Equal(["a.mp4", "a.txt", isOld ? "d/x.mp4" : Long, isOld ? "g.png" : "größe.png"], members.Select(member => member.Name));
        Assert.Equal([1000, 8, 512, 3], members.Select(member => member.Size));
        Assert.All(members, member => Assert.Null(member.Flaw));
        Assert.Equal("ein Ball"u8.ToArray(), members[1].Content);
        Assert.Equal("ein Ball"u8.ToArray(), archive[(int)members[1].Offset..][..8]);
        Assert.Equal((byte[])[1, 2, 3], archive[(int)members[3].Offset..][..3]);
    }

    [Fact]
    public async Task A_scan_skips_large_contents_and_reads_small_neighbours_together()
    {
        var builder = new TarBuilder();
        for (var i = 0; i < 100; i++)
            builder.File($"{i:D3}.png", new byte[700]).File($"{i:D3}.txt", [.. "a dot"u8]);
        var small = new Bytes(builder.End());
        var large = new Bytes(new TarBuilder().File("a.mp4", new byte[5_000_000]).File("a.txt", [1]).File("b.mp4", new byte[5_000_000]).End());

        await TarScanner.ScanAsync(small, small.Content.Length, Ct);
        await TarScanner.ScanAsync(large, large.Content.Length, Ct);

        Assert.Equal(2, small.Reads.Count);
        Assert.True(large.Reads.Sum() < 100_000, $"{large.Reads.Sum()} bytes were read");
    }

    [Fact]
    public async Task What_no_item_can_be_made_of_is_marked()
    {
        var archive = new TarBuilder()
            .Member("./"u8.ToArray(), '5').Member("link.mp4"u8.ToArray(), '2').Member("hard.mp4"u8.ToArray(), '1').Member("pipe.mp4"u8.ToArray(), '6').Member("sparse.mp4"u8.ToArray(), 'S')
            .File("/root.mp4").File("a/../../b.mp4").File("new\nline.mp4").Member([(byte)'c', 0xE9, .. ".mp4"u8], '0').Pax(("GNU.sparse.major", "1")).File("pax.mp4")
            .File("README").File(".hidden.mp4").File("d/.mp4").File("good.mp4").End();

        var (members, damage) = await ScanAsync(archive);

        Assert.Null(damage);
        Assert.Equal(
            [MemberFlaw.Link, MemberFlaw.Link, MemberFlaw.Special, MemberFlaw.Sparse, MemberFlaw.Name, MemberFlaw.Name, MemberFlaw.Name, MemberFlaw.Name, MemberFlaw.Sparse, (MemberFlaw?)null],
            members.Select(member => member.Flaw));
        Assert.DoesNotContain(members, member => member.Name.Any(char.IsControl));
    }

    [Fact]
    public async Task Damage_is_named_with_its_place_and_what_is_before_it_stays()
    {
        var good = new TarBuilder().File("a.mp4", 1).Open();
        await Damaged([.. good, .. new byte[100]], TrainingFault.TarCut);
        await Damaged([.. good, .. new TarBuilder().File("b.mp4", new byte[2000]).Open().AsSpan(0, 1500)], TrainingFault.TarCut, flawed: 1);
        await Damaged([.. good, .. Enumerable.Repeat((byte)'x', 512)], TrainingFault.NoTarHeader);
        await Damaged([.. good, .. new byte[512], .. good], TrainingFault.TarGoesOn);
        await Damaged([.. good, .. new TarBuilder().Member("b.mp4"u8.ToArray(), '0', size: [.. "-0000000001\0"u8]).End()], TrainingFault.TarSizeInvalid);
        await Damaged([.. good, .. new TarBuilder().Member("b.mp4"u8.ToArray(), '0', size: TarBuilder.Binary(-1)).End()], TrainingFault.TarSizeInvalid);
        await Damaged([.. good, .. new TarBuilder().Member("b.mp4"u8.ToArray(), '0', size: TarBuilder.Binary(5, mark: 0xFF)).End()], TrainingFault.TarSizeInvalid);
        await Damaged([.. good, .. new TarBuilder().Member("b.mp4"u8.ToArray(), '0', size: TarBuilder.Binary(long.MaxValue)).End()], TrainingFault.TarCut, flawed: 1);
        await Damaged([.. good, .. new TarBuilder().Pax(("size", "9223372036854775807")).File("b.mp4").End()], TrainingFault.TarCut, flawed: 1, before: 2);
        await Damaged([.. good, .. new TarBuilder().Pax(("size", "99999999999999999999")).File("b.mp4").End()], TrainingFault.TarSizeInvalid);
        await Damaged([.. good, .. new TarBuilder().Member("pax"u8.ToArray(), 'x', [.. "999 path=b.mp4\n"u8]).File("b.mp4").End()], TrainingFault.PaxInvalid);
        await Damaged([.. good, .. new TarBuilder().Member("pax"u8.ToArray(), 'g', [.. "14 path=b.mp4\n"u8]).File("b.mp4").End()], TrainingFault.PaxOfAll);
        await Damaged([.. good, .. new TarBuilder().Member("b"u8.ToArray(), '5', [1]).End()], TrainingFault.TarContentOfNone);
        await Damaged([.. good, .. new TarBuilder().Pax(("path", "b.mp4")).End()], TrainingFault.TarCut, before: 2);
        await Damaged([.. good, .. new TarBuilder().Pax(("path", new string('x', 5000) + ".mp4")).File("b").End()], TrainingFault.TarNameTooLong, before: 11);
        var chain = new TarBuilder();
        for (var i = 0; i < 20; i++)
            chain.Pax(("path", $"{i}.mp4"));
        await Damaged([.. good, .. chain.File("b.mp4").End()], TrainingFault.TarTooManyExtensions, before: 32);

        async Task Damaged(byte[] archive, string reason, int flawed = 0, int before = 0)
        {
            var (members, damage) = await ScanAsync(archive);
            Assert.Equal(reason, damage!.Reason);
            // TarGoesOn is seen after the end, which is where the header was to be.
            Assert.Equal(good.Length + (before * TarBuilder.Block), damage.Offset);
            Assert.Equal("a.mp4", members[0].Name);
            Assert.Null(members[0].Flaw);
            Assert.Equal(Enumerable.Repeat<MemberFlaw?>(MemberFlaw.Cut, flawed), members.Skip(1).Select(member => member.Flaw));
        }
    }

    [Fact]
    public async Task Sizes_above_the_octal_digits_are_read()
    {
        var builder = new TarBuilder().Member("a.mp4"u8.ToArray(), '0', [1, 2, 3], TarBuilder.Binary(3)).Pax(("size", "2")).Member("b.mp4"u8.ToArray(), '0', [4, 5], [.. "00000000000\0"u8]);
        var (members, damage) = await ScanAsync(builder.End());
        Assert.Null(damage);
        Assert.Equal([3, 2], members.Select(member => member.Size));
    }

    private static Task<(List<TarMember> Members, TarDamage? Damage)> ScanAsync(byte[] archive) => TarScanner.ScanAsync(new Bytes(archive), archive.Length, Ct);

    private sealed class Bytes(byte[] content) : ITarBytes
    {
        public byte[] Content => content;

        public List<int> Reads { get; } = [];

        public ValueTask<byte[]> ReadAsync(long offset, int count, CancellationToken cancellationToken)
        {
            Reads.Add(count);
            return ValueTask.FromResult(content[(int)offset..(int)Math.Min(content.Length, offset + count)]);
        }
    }
}
