using PyramidFlow.Hub.Downloads;
using PyramidFlow.Testing;

namespace PyramidFlow.Tests.Hub.Downloads;

public sealed class ModelDownloadTests
{
    private const string Weights = DownloadCase.Weights;

    [Fact]
    public async Task Brings_every_file_of_the_plan_and_nothing_else()
    {
        using var test = new DownloadCase();
        var reports = new Reports<DownloadProgress>();
        await test.RunAsync(reports);
        var plan = await test.PlanAsync();
        Assert.All(plan.Files, file => Assert.Equal(test.Repository[file.Path], File.ReadAllBytes(test.PathOf(file.Path))));
        Assert.Equal(plan.Files.Count, Directory.GetFiles(test.Target, "*", SearchOption.AllDirectories).Length);
        Assert.Equal((plan.TotalBytes, plan.TotalBytes, plan.Files.Count), (reports.All[^1].Bytes, reports.All[^1].TotalBytes, reports.All[^1].Files));
        Assert.Empty(test.Time.Waits);
    }

    [Fact]
    public async Task What_is_there_is_not_fetched_again_and_what_is_wrong_is_replaced()
    {
        using var test = new DownloadCase();
        await test.RunAsync();
        var wrong = File.ReadAllBytes(test.PathOf(Weights));
        wrong[5] ^= 1;
        File.WriteAllBytes(test.PathOf(Weights), wrong);
        await test.RunAsync();
        test.AssertWhole();
        Assert.Equal(2, test.Repository.Asked(Weights).Count);
        Assert.Single(test.Repository.Asked(DownloadCase.Config));
    }

    [Fact]
    public async Task A_dropped_connection_goes_on_where_it_stopped()
    {
        using var test = new DownloadCase();
        test.Repository.Fault(Weights, (_, reply) => reply with { DropAfter = 100_000 });
        test.Repository.Fault(Weights, (_, reply) => reply with { DropAfter = 50_000 });
        await test.RunAsync();
        test.AssertWhole();
        var from = test.Repository.Asked(Weights).Select(request => request.From).ToList();
        Assert.Equal(3, from.Count);
        // What the kernel still held when the connection went may be lost, but never more comes than was sent.
        Assert.True(from[0] == 0 && from[1] is > 0 and <= 100_000 && from[2] > from[1] && from[2] <= from[1] + 50_000, string.Join(", ", from));
        Assert.Equal([TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(2)], test.Time.Waits);
    }

    [Fact]
    public async Task A_new_run_goes_on_from_the_hidden_rest_of_the_last()
    {
        using var test = new DownloadCase();
        for (var i = 0; i < 6; i++)
        {
            var sent = i == 0 ? 100_000 : 0;
            test.Repository.Fault(Weights, (_, reply) => reply with { DropAfter = sent });
        }

        FaultAssert.Is(await test.FaultAsync(), "given_up", ("attempts", 6), ("status", null));
        Assert.False(File.Exists(test.PathOf(Weights)));
        // Files that were under way beside it leave rests too.
        var partial = Assert.Single(test.Partials(), path => path.StartsWith(Path.GetDirectoryName(test.PathOf(Weights))! + "/.diffusion", StringComparison.Ordinal));
        var kept = new FileInfo(partial).Length;
        await test.RunAsync();
        test.AssertWhole();
        Assert.Equal(kept, test.Repository.Asked(Weights)[^1].From);
        Assert.True(kept > 0);
    }

    [Fact]
    public async Task Waits_as_long_as_the_server_asks()
    {
        using var test = new DownloadCase();
        test.Repository.Fault(Weights, (_, _) => HubReply.Text(429, "", ("Retry-After", "17")));
        test.Repository.Fault(Weights, (_, _) => HubReply.Text(503, "", ("Retry-After", (InstantTime.Now + TimeSpan.FromSeconds(40)).ToString("r"))));
        test.Repository.Fault(Weights, (_, _) => HubReply.Text(500));
        test.Repository.Fault("", (_, _) => HubReply.Text(502));
        await test.RunAsync();
        test.AssertWhole();
        Assert.Equal([TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(17), TimeSpan.FromSeconds(40), TimeSpan.FromSeconds(4)], test.Time.Waits);
        Assert.Contains(test.Notes, note => note == "127.0.0.1 is asked too often (429); again in 17 s");
    }

    [Fact]
    public async Task A_wait_beyond_patience_is_an_error_at_once()
    {
        using var test = new DownloadCase();
        test.Repository.Fault(Weights, (_, _) => HubReply.Text(429, "", ("Retry-After", "86400")));
        FaultAssert.Is(await test.FaultAsync(), "long_wait", ("minutes", 1440), ("status", 429));
        Assert.Empty(test.Time.Waits);
    }

    [Fact]
    public async Task A_server_that_stays_broken_is_given_up()
    {
        using var test = new DownloadCase();
        for (var i = 0; i < 20; i++)
            test.Repository.Fault(Weights, (_, _) => HubReply.Text(500));
        FaultAssert.Is(await test.FaultAsync(), "given_up", ("attempts", 6), ("status", 500));
        Assert.Equal([1, 2, 4, 8, 16], test.Time.Waits.Select(wait => wait.TotalSeconds));
    }

    [Theory]
    [InlineData(401, null, "token_needed")]
    [InlineData(401, "secret-token", "token_refused")]
    [InlineData(403, "secret-token", "licence_needed")]
    [InlineData(404, null, "not_found")]
    [InlineData(410, null, "refused")]
    public async Task A_refusal_is_not_repeated_and_has_a_code_of_its_own(int status, string? token, string code)
    {
        using var test = new DownloadCase { Token = token };
        test.Repository.Fault("", (_, _) => HubReply.Text(status));
        var error = await test.FaultAsync();
        FaultAssert.Is(error, code, ("status", status));
        Assert.Equal(HubRepository.Name, error.Parameters["repository"]);
        Assert.Contains(HubRepository.Name, error.Message + (code == "token_refused" ? HubRepository.Name : ""), StringComparison.Ordinal);
        Assert.DoesNotContain("secret", error.Message + string.Concat(error.Parameters.Values), StringComparison.Ordinal);
        Assert.Single(test.Repository.Server.Requests);
        Assert.Empty(test.Time.Waits);
    }

    [Fact]
    public async Task A_size_other_than_listed_is_an_error()
    {
        using var test = new DownloadCase();
        test.Repository.Fault(Weights, (_, reply) => reply with { Body = reply.Body[..1000] });
        FaultAssert.Is(await test.FaultAsync(), "wrong_length", ("file", Weights), ("sent", 1000L), ("listed", 300_000L));
        Assert.False(File.Exists(test.PathOf(Weights)));
    }

    [Fact]
    public async Task A_damaged_transfer_is_repeated_from_the_start()
    {
        using var test = new DownloadCase();
        test.Repository.Fault(Weights, (_, reply) => reply with { Body = [.. reply.Body[..^1], (byte)~reply.Body[^1]] });
        await test.RunAsync();
        test.AssertWhole();
        Assert.Equal([0, 0], test.Repository.Asked(Weights).Select(request => request.From));
    }

    [Theory]
    [InlineData(Weights)]
    [InlineData(DownloadCase.Config)]
    public async Task Content_of_another_hash_is_an_error_and_never_gets_its_name(string path)
    {
        using var test = new DownloadCase();
        test.Repository.Lie = (key, entry) => key == path ? entry with { Hash = new string('a', entry.Hash.Length) } : entry;
        FaultAssert.Is(await test.FaultAsync(), "wrong_hash", ("file", path), ("repository", "someone/model"));
        Assert.False(File.Exists(test.PathOf(path)));
        Assert.Equal(2, test.Repository.Asked(path).Count);
    }

    [Fact]
    public async Task A_server_that_ignores_ranges_sends_the_file_anew()
    {
        using var test = new DownloadCase();
        test.Repository.Fault(Weights, (_, reply) => reply with { DropAfter = 100_000 });
        test.Repository.Fault(Weights, (_, _) => new HubReply(200, test.Repository[Weights]));
        await test.RunAsync();
        test.AssertWhole();
    }

    [Fact]
    public async Task Another_part_than_asked_for_is_not_taken()
    {
        using var test = new DownloadCase();
        test.Repository.Fault(Weights, (_, reply) => reply with { DropAfter = 100_000 });
        test.Repository.Fault(Weights, (_, _) => new HubReply(206, new byte[10]) { Headers = [("Content-Range", "bytes 299990-299999/300000")] });
        await test.RunAsync();
        test.AssertWhole();
    }

    [Fact]
    public async Task A_connection_that_stands_still_is_dropped_and_taken_up_again()
    {
        using var test = new DownloadCase();
        test.Repository.Fault(Weights, (_, reply) => reply with { DropAfter = 100_000, Silent = true });
        var run = test.RunAsync();
        while (!test.Partials().Any(path => path.Contains("diffusion_pytorch_model", StringComparison.Ordinal) && new FileInfo(path) is { Exists: true, Length: >= 100_000 }))
            await Task.Yield();
        test.Time.StallNow();
        await run;
        test.AssertWhole();
        Assert.Contains(test.Notes, note => note.Contains("sent nothing for 61 s", StringComparison.Ordinal));
    }

    [Fact]
    public async Task The_token_is_sent_to_the_hub_and_not_to_where_it_redirects()
    {
        using var test = new DownloadCase { Token = "secret" };
        using var other = new HubServer(request => new HubReply(request.From > 0 ? 206 : 200, test.Repository[Weights][request.From..])
        {
            Headers = [("Content-Range", $"bytes {request.From}-299999/300000")],
            DropAfter = request.From == 0 ? 1000 : null,
        });
        for (var i = 0; i < 2; i++)
            test.Repository.Fault(Weights, (_, _) => HubReply.Text(302, "", ("Location", other.Address + "/signed?x=1")));
        await test.RunAsync();
        test.AssertWhole();
        Assert.All(test.Repository.Server.Requests, request => Assert.Equal("Bearer secret", request.Headers["authorization"]));
        Assert.Equal(2, other.Requests.Count);
        Assert.All(other.Requests, request => Assert.False(request.Headers.ContainsKey("authorization")));
    }

    [Theory]
    [InlineData("file:///etc/passwd", "unsafe_redirect")]
    [InlineData("again", "redirect_loop")]
    public async Task A_redirect_that_leads_nowhere_good_is_refused(string location, string code)
    {
        using var test = new DownloadCase();
        for (var i = 0; i < 20; i++)
            test.Repository.Fault(Weights, (request, _) => HubReply.Text(307, "", ("Location", location == "again" ? request.Path : location)));
        FaultAssert.Is(await test.FaultAsync(), code, ("host", "127.0.0.1"), ("repository", HubRepository.Name));
    }

    [Fact]
    public async Task A_disk_that_is_too_small_is_said_before_anything_is_fetched()
    {
        using var test = new DownloadCase { FreeBytes = 1000 };
        FaultAssert.Is(await test.FaultAsync(), "disk_too_small", ("folder", test.Target));
        Assert.Single(test.Repository.Server.Requests);
        Assert.False(Directory.Exists(test.Target));
    }

    [Fact]
    public async Task Links_do_not_lead_writing_out_of_the_folder()
    {
        using var test = new DownloadCase();
        using var outside = new TemporaryFolder();
        outside.Write("victim", "mine");
        Directory.CreateDirectory(test.PathOf("diffusion_transformer_384p"));
        var file = (await test.PlanAsync()).Files.Single(f => f.Path == Weights);
        File.CreateSymbolicLink(ResumableFile.PathFor(test.PathOf(Weights), file), outside.File("victim"));
        File.CreateSymbolicLink(test.PathOf(DownloadCase.Config), outside.File("victim"));
        await test.RunAsync();
        test.AssertWhole();
        Assert.Equal("mine", File.ReadAllText(outside.File("victim")));
        Assert.Null(new FileInfo(test.PathOf(DownloadCase.Config)).LinkTarget);

        Directory.Delete(test.PathOf("causal_video_vae"), recursive: true);
        Directory.CreateSymbolicLink(test.PathOf("causal_video_vae"), outside.Path);
        FaultAssert.Is(await test.FaultAsync(), "folder_is_link", ("path", test.PathOf("causal_video_vae")), ("target", outside.Path));
        Assert.Single(Directory.GetFileSystemEntries(outside.Path));
    }

    [Fact]
    public async Task Two_downloads_into_one_folder_do_not_mix()
    {
        using var test = new DownloadCase();
        var file = (await test.PlanAsync()).Files.Single(f => f.Path == Weights);
        Directory.CreateDirectory(test.PathOf("diffusion_transformer_384p"));
        using var other = await ResumableFile.OpenAsync(test.PathOf(Weights), file, TestContext.Current.CancellationToken);
        FaultAssert.Is(await test.FaultAsync(), "in_use", ("path", ResumableFile.PathFor(test.PathOf(Weights), file)));
    }

    [Fact]
    public async Task A_cancelled_run_keeps_what_has_come()
    {
        using var test = new DownloadCase();
        using var cancel = new CancellationTokenSource();
        test.Repository.Fault(Weights, (_, reply) => reply with { DropAfter = 100_000 });
        test.Repository.Fault(Weights, (_, reply) =>
        {
            cancel.Cancel();
            return reply;
        });
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => test.RunAsync(cancel: cancel.Token));
        Assert.Contains(test.Partials(), path => new FileInfo(path).Length > 0);
        await test.RunAsync();
        test.AssertWhole();
        Assert.True(test.Repository.Asked(Weights)[^1].From > 0);
    }
}
