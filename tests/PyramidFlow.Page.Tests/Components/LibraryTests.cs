using Microsoft.AspNetCore.Components.Forms;
using Microsoft.JSInterop;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Page.State;

namespace PyramidFlow.Page.Tests.Components;

/// <summary>State of a page without its components.</summary>
public sealed class LibraryTests : PageContext
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task What_was_found_is_there_after_an_outage_and_an_old_video_does_not_move_the_end_of_the_list()
    {
        var made = Enumerable.Range(0, 60).Select(_ => Jobs.Add(VideoStatus.Completed)).ToList();
        var library = new VideoLibrary(Jobs);
        await library.LoadAsync(Owner.Local, Cancel);
        await library.SearchAsync(made[1].Request.Prompt!, false, Cancel);
        Assert.Contains(made[1].Id, library.Found!.Select(job => job.Id));

        await Jobs.DeleteAsync(Owner.Local, library.Found![0].Id, Cancel);
        Assert.True(made.Remove(library.Found![0]));
        await library.LoadAsync(Owner.Local, Cancel);
        Assert.All(library.Found!, job => Assert.NotNull(library.Find(job.Id)));
        Assert.Contains(made[1].Id, library.Found!.Select(job => job.Id));

        // Older than all that is listed, except those that were opened or found by themselves.
        library.Put(made[5].Id, made[5]);
        Assert.Null(library.Find(made[5].Id));

        // The list continues although its last video is deleted.
        var last = made.Last(job => library.Find(job.Id) is null);
        var oldest = made[made.IndexOf(last) + 1];
        await Jobs.DeleteAsync(Owner.Local, oldest.Id, Cancel);
        library.Put(oldest.Id, null);
        await library.MoreAsync(Cancel);
        Assert.NotNull(library.Find(last.Id));
        Assert.NotNull(library.Find(made[5].Id));
    }

    [Fact]
    public async Task A_video_that_cannot_be_deleted_comes_back()
    {
        var job = Jobs.Add(VideoStatus.Completed);
        await Studio.BeginAsync(Cancel);
        await Studio.DeleteAsync(job);
        Jobs.Fault = ServiceFault.Stopping(new InvalidOperationException());
        await Studio.SettleAsync();
        Assert.NotNull(Studio.Trouble);
        Assert.NotNull(Studio.Library.Find(job.Id));

        await Studio.DeleteAsync(job);
        Jobs.Fault = new TimeoutException();
        await Studio.SettleAsync();
        Assert.Equal(Words.QueueIsAway, Studio.Trouble);
        await Studio.DeleteAsync(job);
        Jobs.Fault = new InvalidOperationException();
        await Assert.ThrowsAsync<InvalidOperationException>(Studio.SettleAsync);
        Assert.NotNull(Studio.Library.Find(job.Id));
        Jobs.Fault = null;
    }

    [Fact]
    public async Task A_search_goes_on_although_its_last_video_is_deleted()
    {
        var made = Enumerable.Range(0, 60).Select(_ => Jobs.Add(VideoStatus.Completed)).ToList();
        var library = new VideoLibrary(Jobs);
        await library.LoadAsync(Owner.Local, Cancel);
        await library.SearchAsync("prompt", false, Cancel);
        var last = library.Found![^1].Id;
        await Jobs.DeleteAsync(Owner.Local, last, Cancel);
        library.Put(last, null);
        await library.FindMoreAsync(Cancel);
        Assert.Equal(made.Where(job => job.Id != last).Reverse().Select(job => job.Id), library.Found!.Select(job => job.Id));
    }

    [Fact]
    public async Task A_fault_of_the_service_is_not_blamed_on_the_file_and_a_large_gif_is_one_without_notes()
    {
        await Studio.BeginAsync(Cancel);
        var large = new byte[5 << 20];
        // An extension whose blocks go on beyond what is read.
        Array.Fill(large, (byte)1);
        ((byte[])[.. "GIF89a"u8, 1, 0, 1, 0, 0, 0, 0, 0x21, 0xFF]).CopyTo(large, 0);
        var gif = new BrowserFile("video.gif", "video/gif", large);
        Studio.Form.Take(gif);
        await Studio.Form.ReadNotesAsync();
        Assert.Empty(Studio.Form.Errors);
        Studio.Form.Draft.Prompt = "a";
        foreach (var fault in new Exception[] { new TimeoutException(), new UnauthorizedAccessException(), new IOException() })
        {
            Jobs.Fault = fault;
            Assert.Equal(DraftField.Form, await Studio.Form.GenerateAsync());
        }

        Jobs.Fault = null;
        Assert.Null(await Studio.Form.GenerateAsync());
    }

    private sealed class BrowserFile(string name, string type, byte[] bytes) : IBrowserFile
    {
        public string Name => name;

        public DateTimeOffset LastModified => default;

        public long Size => bytes.Length;

        public string ContentType => type;

        public Stream OpenReadStream(long maxAllowedSize = 512000, CancellationToken cancellationToken = default) => new MemoryStream(bytes);
    }

    [Fact]
    public async Task A_file_that_cannot_be_read_is_said_beside_it()
    {
        await Studio.BeginAsync(Cancel);
        foreach (var fault in new Exception[] { new IOException("gone"), new UnauthorizedAccessException("locked"), new JSException("NotReadableError") })
        {
            Studio.Form.Take(new UnreadableFile(fault));
            await Studio.Form.ReadNotesAsync();
            Assert.Contains("cannot be read", Studio.Form.Errors[DraftField.Input], StringComparison.Ordinal);
            Studio.Form.Draft.Prompt = "a";
            Assert.Equal(DraftField.Input, await Studio.Form.GenerateAsync());
        }
    }

    private sealed class UnreadableFile(Exception fault) : IBrowserFile
    {
        public string Name => "photo.png";

        public DateTimeOffset LastModified => default;

        public long Size => 1000;

        public string ContentType => "image/png";

        public Stream OpenReadStream(long maxAllowedSize = 512000, CancellationToken cancellationToken = default) => new Broken(fault);
    }

    private sealed class Broken(Exception fault) : MemoryStream
    {
        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) => ValueTask.FromException<int>(fault);

        public override Task CopyToAsync(Stream destination, int bufferSize, CancellationToken cancellationToken) => Task.FromException(fault);
    }
}
