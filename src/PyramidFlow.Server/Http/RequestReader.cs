using Microsoft.AspNetCore.WebUtilities;
using Microsoft.Net.Http.Headers;
using PyramidFlow.Server.Storage;
using PyramidFlow.Server.Domain;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Server.Http;

/// <summary>Reads the body of a request for a video: JSON or a form with a file, within the limits, as it comes in.</summary>
/// <param name="folder">Where a file waits until the rest is read.</param>
/// <param name="limits">How large it may be.</param>
internal sealed class RequestReader(VideoFolder folder, ServerLimits limits)
{
    // A video to extend comes under a name of its own.
    private const string File = "input_reference", Video = "video";

    // What clients make of {"input_reference": {"image_url": ...}} and {"file_id": ...} in a form.
    private const string Url = $"{File}[image_url]", FileId = $"{File}[file_id]";
    private const int MostFields = 64, FieldBytes = 64 << 10, JsonBytes = 1 << 20;

    /// <summary>Reads a body.</summary>
    /// <param name="request">The request.</param>
    /// <param name="known">Fields that it may have.</param>
    /// <param name="cancel">Stops the reading.</param>
    /// <returns>Its fields, those of extra_params among them, and its file if there is one; the caller disposes it.</returns>
    /// <exception cref="JobException">It is malformed, too large, or of another type.</exception>
    public async Task<(RequestFields Fields, SpooledUpload? Upload)> ReadAsync(HttpRequest request, KnownFields known, CancellationToken cancel)
    {
        var fields = new RequestFields(known);
        var upload = new Slot();
        try
        {
            if (request.HasJsonContentType())
                await JsonAsync(request, fields, upload, cancel).ConfigureAwait(false);
            else if (MediaTypeHeaderValue.TryParse(request.ContentType, out var type) && type.MediaType.Equals("multipart/form-data", StringComparison.OrdinalIgnoreCase))
                await FormAsync(request, type, known, fields, upload, cancel).ConfigureAwait(false);
            else
                throw ServiceFault.MediaTypeUnsupported();
            return (fields, upload.Value);
        }
        catch
        {
            if (upload.Value is not null)
                await upload.Value.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    private async Task JsonAsync(HttpRequest request, RequestFields fields, Slot upload, CancellationToken cancel)
    {
        var utf8 = await new JsonBody(request.Body, JsonBytes).ReadAsync(
            async text => upload.Put(upload.Value is null ? await DataAsync(text, cancel).ConfigureAwait(false) : throw RequestFields.Twice(File)), cancel).ConfigureAwait(false);
        try
        {
            using var document = StrictJson.Parse(utf8);
            fields.Add(document.RootElement.Clone());
        }
        catch (MalformedTextException e)
        {
            throw ServiceFault.BodyMalformed(e);
        }
    }

    private async Task<SpooledUpload> DataAsync(Stream text, CancellationToken cancel)
    {
        try
        {
            return await SpooledUpload.ReadAsync(await DataUrl.OpenAsync(text, cancel).ConfigureAwait(false), folder, limits, cancel).ConfigureAwait(false);
        }
        catch (FormatException e)
        {
            throw ServiceFault.NotBase64(e);
        }
    }

    private async Task FormAsync(HttpRequest request, MediaTypeHeaderValue type, KnownFields known, RequestFields fields, Slot upload, CancellationToken cancel)
    {
        var boundary = HeaderUtilities.RemoveQuotes(type.Boundary).Value;
        if (string.IsNullOrEmpty(boundary) || boundary.Length > 200)
            throw ServiceFault.FormWithoutBoundary();
        var (reader, tree) = (new MultipartReader(boundary, request.Body), new FormTree());
        try
        {
            for (var count = 0; await reader.ReadNextSectionAsync(cancel).ConfigureAwait(false) is { } section; count++)
            {
                if (count == MostFields)
                    throw ServiceFault.TooManyFields(MostFields);
                if (!ContentDispositionHeaderValue.TryParse(section.ContentDisposition, out var disposition) || HeaderUtilities.RemoveQuotes(disposition.Name).Value is not { Length: > 0 } name)
                    throw ServiceFault.PartWithoutName();
                // Before its bytes are read: a field that nobody knows may be large.
                if (!known.Has(FormTree.FieldOf(name)))
                    throw known.Unknown(FormTree.FieldOf(name));
                if (name == FileId)
                    throw ServiceFault.FileIdUnsupported();
                if (name is not (File or Url) && (name != Video || disposition.FileName.Length == 0))
                    tree.Add(name, await TextAsync(section.Body, name, cancel).ConfigureAwait(false));
                else if (upload.Value is not null)
                    throw ServiceFault.TwoFiles();
                else
                    upload.Put(await (name == Url ? DataAsync(section.Body, cancel) : SpooledUpload.ReadAsync(section.Body, folder, limits, cancel)).ConfigureAwait(false));
            }
        }
        catch (Exception e) when (e is InvalidDataException || (e is IOException && e.Message.StartsWith("Unexpected end of Stream", StringComparison.Ordinal)))
        {
            // A form that is cut short shows as a plain IOException, as a full disk does.
            throw ServiceFault.FormDamaged(e);
        }

        fields.Add(tree.ToJson());
    }

    private static async Task<string> TextAsync(Stream body, string name, CancellationToken cancel)
    {
        var buffer = new byte[FieldBytes + 1];
        var count = await body.ReadAtLeastAsync(buffer, buffer.Length, throwOnEndOfStream: false, cancel).ConfigureAwait(false);
        if (count > FieldBytes)
            throw ServiceFault.FieldTooLong(name, FormTree.FieldOf(name), FieldBytes);
        try
        {
            return StrictText.Decode(buffer.AsSpan(0, count));
        }
        catch (MalformedTextException e)
        {
            throw ServiceFault.FieldMalformed(name, FormTree.FieldOf(name), e);
        }
    }

    // Holds the upload while what comes after it is read, so that it is removed whatever goes wrong.
    private sealed class Slot
    {
        public SpooledUpload? Value { get; private set; }

        public void Put(SpooledUpload upload) => Value = upload;
    }
}
