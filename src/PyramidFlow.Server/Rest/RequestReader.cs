using System.Text.Json;
using Microsoft.AspNetCore.WebUtilities;
using Microsoft.Net.Http.Headers;
using PyramidFlow.Server.Files;
using PyramidFlow.Server.Jobs;

namespace PyramidFlow.Server.Rest;

/// <summary>Reads the body of a request for a video: JSON or a form with a file, within the limits, as it comes in.</summary>
/// <param name="folder">Where a file waits until the rest is read.</param>
/// <param name="limits">How large it may be.</param>
internal sealed class RequestReader(VideoFolder folder, ServerLimits limits)
{
    // A video to extend comes under a name of its own.
    private const string File = "input_reference", Video = "video";

    // What clients make of {"input_reference": {"image_url": ...}} and {"file_id": ...} in a form.
    private const string Url = $"{File}[image_url]", FileId = $"{File}[file_id]";
    private const int MostFields = 64, FieldBytes = 64 << 10;

    /// <summary>Reads a body.</summary>
    /// <returns>Its fields, those of extra_params among them, and its file if there is one; the caller disposes it.</returns>
    /// <exception cref="JobException">It is malformed, too large, or of another type.</exception>
    public async Task<(RequestFields Fields, SpooledUpload? Upload)> ReadAsync(HttpRequest request, CancellationToken cancel)
    {
        var fields = new RequestFields();
        SpooledUpload? upload = null;
        try
        {
            if (request.HasJsonContentType())
                upload = await JsonAsync(request, fields, cancel).ConfigureAwait(false);
            else if (MediaTypeHeaderValue.TryParse(request.ContentType, out var type) && type.MediaType.Equals("multipart/form-data", StringComparison.OrdinalIgnoreCase))
                upload = await FormAsync(request, type, fields, cancel).ConfigureAwait(false);
            else
                throw new JobException(JobFault.Unsupported, "send the request as application/json or multipart/form-data");
            if (fields.Text("extra_params") is { Length: > 0 } extra)
                fields.Set(Json(extra, "extra_params"), "extra_params");
            return (fields, upload);
        }
        catch
        {
            if (upload is not null)
                await upload.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }

    private async Task<SpooledUpload?> JsonAsync(HttpRequest request, RequestFields fields, CancellationToken cancel)
    {
        JsonDocument document;
        try
        {
            // A picture may stand in it as base64.
            document = await JsonDocument.ParseAsync(new LimitedStream(request.Body, (limits.ImageBytes / 3 * 4) + (1 << 20)), default, cancel).ConfigureAwait(false);
        }
        catch (JsonException e)
        {
            throw new JobException(JobFault.Invalid, $"the body is not JSON: there is a fault in line {e.LineNumber + 1}", e);
        }

        using (document)
        {
            fields.Set(document.RootElement, "the body");
            return document.RootElement.TryGetProperty(File, out var reference) && reference.ValueKind != JsonValueKind.Null
                ? await DataAsync(reference, cancel).ConfigureAwait(false)
                : null;
        }
    }

    private async Task<SpooledUpload> DataAsync(JsonElement reference, CancellationToken cancel)
    {
        var url = reference.ValueKind == JsonValueKind.Object && reference.TryGetProperty("image_url", out var inner) ? inner : reference;
        using var text = new MemoryStream(System.Text.Encoding.ASCII.GetBytes(url.ValueKind == JsonValueKind.String ? url.GetString()! : ""));
        return await DataAsync(text, cancel).ConfigureAwait(false);
    }

    private async Task<SpooledUpload> DataAsync(Stream text, CancellationToken cancel)
    {
        try
        {
            return await SpooledUpload.ReadAsync(await DataUrl.OpenAsync(text, cancel).ConfigureAwait(false), folder, limits, cancel).ConfigureAwait(false);
        }
        catch (FormatException)
        {
            throw Wrong("input_reference is not valid base64");
        }
    }

    private async Task<SpooledUpload?> FormAsync(HttpRequest request, MediaTypeHeaderValue type, RequestFields fields, CancellationToken cancel)
    {
        var boundary = HeaderUtilities.RemoveQuotes(type.Boundary).Value;
        if (string.IsNullOrEmpty(boundary) || boundary.Length > 200)
            throw new JobException(JobFault.Invalid, "the form has no boundary: it is not well-formed multipart/form-data");
        var reader = new MultipartReader(boundary, request.Body);
        SpooledUpload? upload = null;
        try
        {
            for (var count = 0; await reader.ReadNextSectionAsync(cancel).ConfigureAwait(false) is { } section; count++)
            {
                if (count == MostFields)
                    throw new JobException(JobFault.Invalid, $"the form has more than {MostFields} fields");
                if (!ContentDispositionHeaderValue.TryParse(section.ContentDisposition, out var disposition) || HeaderUtilities.RemoveQuotes(disposition.Name).Value is not { Length: > 0 } name)
                    throw new JobException(JobFault.Invalid, "a part of the form has no name: it is not well-formed multipart/form-data");
                if (name == FileId)
                    throw Wrong("files are not kept here under ids of their own: send the picture or video itself as input_reference");
                if (name is not (File or Url) && (name != Video || disposition.FileName.Length == 0))
                    fields.Set(name.EndsWith("[]", StringComparison.Ordinal) ? name[..^2] : name, await TextAsync(section.Body, name, cancel).ConfigureAwait(false));
                else if (upload is not null)
                    throw Wrong("the form has more than one file: send one picture or video");
                else
                    upload = await (name == Url ? DataAsync(section.Body, cancel) : SpooledUpload.ReadAsync(section.Body, folder, limits, cancel)).ConfigureAwait(false);
            }

            return upload;
        }
        catch (Exception e)
        {
            if (upload is not null)
                await upload.DisposeAsync().ConfigureAwait(false);
            // A form that is cut short shows as a plain IOException, as a full disk does.
            if (e is InvalidDataException || (e is IOException && e.Message.StartsWith("Unexpected end of Stream", StringComparison.Ordinal)))
                throw new JobException(JobFault.Invalid, "the form is damaged or ends too early: it is not well-formed multipart/form-data", e);
            throw;
        }
    }

    private static async Task<string> TextAsync(Stream body, string name, CancellationToken cancel)
    {
        var buffer = new byte[FieldBytes + 1];
        var count = await body.ReadAtLeastAsync(buffer, buffer.Length, throwOnEndOfStream: false, cancel).ConfigureAwait(false);
        return count <= FieldBytes
            ? System.Text.Encoding.UTF8.GetString(buffer, 0, count)
            : throw new JobException(JobFault.TooLarge, $"the field {name} is longer than {FieldBytes >> 10} KiB");
    }

    private static JsonElement Json(string text, string name)
    {
        try
        {
            return JsonDocument.Parse(text).RootElement.Clone();
        }
        catch (JsonException e)
        {
            throw new JobException(JobFault.Invalid, $"{name} is not JSON", e) { Parameter = name };
        }
    }

    private static JobException Wrong(string message) => new(JobFault.Invalid, message) { Parameter = File };
}
