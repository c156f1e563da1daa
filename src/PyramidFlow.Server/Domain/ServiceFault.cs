using PyramidFlow.Media;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Formats;
using static System.FormattableString;

namespace PyramidFlow.Server.Domain;

/// <summary>
/// All errors of the service: of requests here, of its start and of videos in the other part. The only place of their codes and sentences.
/// </summary>
internal static partial class ServiceFault
{
    /// <summary>Code of a request for a LoRA that does not exist.</summary>
    public const string LoraUnknownCode = "lora_unknown";

    /// <summary>Code of a request for a model that does not exist.</summary>
    public const string ModelUnknownCode = "model_unknown";

    /// <summary>Reason of a text in a JSON body that ends too early.</summary>
    public const string EndsTooEarly = "it ends too early";

    /// <summary>Reason of a text in a JSON body with a control character.</summary>
    public const string ControlCharacter = "it holds a line break or another control character";

    /// <summary>Reason of a text in a JSON body with an unknown escape.</summary>
    public const string NeedlessBackslash = "it has a backslash before what needs none";

    /// <summary>Reason of a text in a JSON body with a damaged escape.</summary>
    public const string DigitsMissing = "it has a \\u without four digits";

    private const int LongestName = 80;

    private const string Input = "input_reference", Video = "video", Model = "model", Lora = "lora";

    // Requests as HTTP carries them.

    public static JobException AddressUnknown() =>
        new(JobFaultKind.NotFound, "address_unknown", "there is nothing at this address: /openapi/v1.json lists what there is");

    public static JobException WorkerUnknown(string worker) =>
        new(JobFaultKind.NotFound, "worker_unknown", "there is no such worker, or it has ended: GET /v1/admin/workers lists them", null, ("worker", StrictText.OneLine(worker, LongestName))) { Field = "name" };

    public static JobException StatusUnknown() =>
        new(JobFaultKind.Invalid, "status_unknown", "status is one of queued, in_progress, completed and failed") { Field = "status" };

    public static JobException MethodUnknown() =>
        new(JobFaultKind.MethodNotAllowed, "method_unknown", "this address does not know this method: /openapi/v1.json lists what there is");

    public static JobException MediaTypeUnsupported() =>
        new(JobFaultKind.Unsupported, "media_type_unsupported", "send the request as application/json or multipart/form-data");

    public static JobException RangeBeyondEnd() => new(JobFaultKind.Range, "range_beyond_end", "the range asked for lies beyond the end of the file");

    public static JobException Refused(int status) => new(JobFaultKind.Refused, "refused", "the request was refused") { HttpStatus = status };

    public static JobException RequestTooLarge(Exception cause) =>
        new(JobFaultKind.TooLarge, "request_too_large", "the request is larger than this service takes: send a smaller picture or video", cause);

    public static JobException RequestTooSlow(Exception cause) => new(JobFaultKind.TooSlow, "request_too_slow", "the request came too slowly: send it again", cause);

    public static JobException HttpMalformed(int status, Exception cause) =>
        new(JobFaultKind.Malformed, "http_malformed", "the request is not well-formed HTTP, or ended before it was whole", cause) { HttpStatus = status };

    public static JobException BodyDamaged(Exception cause) => new(JobFaultKind.Malformed, "body_damaged", "the body of the request is damaged or cut short", cause);

    public static JobException HostUnknown(string host) =>
        new(JobFaultKind.WrongHost, "host_unknown", $"this service does not answer to the name '{host}': use localhost, or start it with --allow-host {host}", null, ("host", host));

    public static JobException OriginForeign() =>
        new(JobFaultKind.WrongOrigin, "origin_foreign", "a page of another site may not use this service: open the address of this service itself, and try again there");

    // Keys, limits on requests, and what the service cannot do at the moment.

    public static JobException KeyMissing() => new(JobFaultKind.NoKey, "key_missing", "this service needs an API key: send it as 'Authorization: Bearer KEY'");

    public static JobException KeyRemoved() => new(JobFaultKind.NoKey, "key_removed", "your key was taken away: sign in with another");

    public static JobException KeysUnreadable(ServiceException cause) =>
        new(JobFaultKind.Unavailable, "keys_unreadable", "the keys of this service cannot be read; whoever runs it finds more in its log", cause);

    public static JobException TooManySignIns(int seconds) =>
        new(JobFaultKind.RateLimit, "too_many_sign_ins", Invariant($"too many requests in one minute: try again in {seconds} seconds"), null, ("seconds", seconds))
        {
            RetryAfterSeconds = seconds,
        };

    public static JobException TooManyRequests(int seconds) =>
        new(JobFaultKind.RateLimit, "too_many_requests", Invariant($"too many videos were asked for in one minute: try again in {seconds} seconds"), null, ("seconds", seconds))
        {
            RetryAfterSeconds = seconds,
        };

    public static JobException DayIsFull(int most, int seconds) =>
        new(JobFaultKind.RateLimit, "too_many_today",
            Invariant($"you have asked for {most} videos in 24 hours, and no more are allowed: try again in {(seconds < 5400 ? $"{Math.Ceiling(seconds / 60.0)} minutes" : $"{Math.Ceiling(seconds / 3600.0)} hours")}"), null,
            ("most", most), ("seconds", seconds))
        {
            RetryAfterSeconds = seconds,
        };

    public static JobException TooManyActive(long active) =>
        new(JobFaultKind.TooMany, "too_many_active", Invariant($"{active} of your videos wait or are being made, and no more are allowed: wait for one to end, or cancel one"), null,
            ("active", active));

    public static JobException QueueUnavailable(Exception cause) =>
        new(JobFaultKind.Unavailable, "queue_unavailable", "the queue cannot be reached just now: try again in a moment", cause);

    public static JobException Stopping(Exception cause) =>
        new(JobFaultKind.Unavailable, "service_stopping", "this service is being stopped: ask again in a moment", cause);

    /// <summary>A fault of the disk. The cause may name paths of this machine, so only its code is passed on.</summary>
    public static JobException Storage(Exception cause) =>
        new(JobFaultKind.Storage, cause is PyramidFlowException { Code: var code } ? code : "storage_failed", "nothing can be written here: the disk of this service may be full", cause);

    public static JobException ProgramFailed(Exception cause) =>
        new(JobFaultKind.Internal, "program_failed", "this program failed at the request; whoever runs it finds more in its log", cause);

    // Bodies.

    public static JobException BodyMalformed(MalformedTextException cause) =>
        new(JobFaultKind.Invalid, "body_malformed", $"the body cannot be read: {Sent(cause.Reason)}", cause, ("reason", Sent(cause.Reason))) { Field = cause.Key };

    public static JobException BodyTooDeep(int most) =>
        new(JobFaultKind.Invalid, "body_too_deep", Invariant($"the body is nested deeper than {most} times: no request is"), null, ("most", most));

    public static JobException BodyTooLarge(int mostBytes) =>
        new(JobFaultKind.TooLarge, "body_too_large", Invariant($"the fields of the body are longer than {mostBytes >> 10} KiB together: shorten them"), null, ("most_kib", mostBytes >> 10));

    public static JobException FormWithoutBoundary() =>
        new(JobFaultKind.Invalid, "form_without_boundary", "the form has no boundary: it is not well-formed multipart/form-data");

    public static JobException FormDamaged(Exception cause) =>
        new(JobFaultKind.Invalid, "form_damaged", "the form is damaged or ends too early: it is not well-formed multipart/form-data", cause);

    public static JobException PartWithoutName() =>
        new(JobFaultKind.Invalid, "part_without_name", "a part of the form has no name: it is not well-formed multipart/form-data");

    public static JobException TooManyFields(int most) => new(JobFaultKind.Invalid, "too_many_fields", Invariant($"the form has more than {most} fields"), null, ("most", most));

    public static JobException NotObject(string what, bool isField) =>
        new(JobFaultKind.Invalid, "not_an_object", $"{what} is not a JSON object", null, ("what", what)) { Field = isField ? what : null };

    // Fields.

    /// <summary>The error for a field that does not exist.</summary>
    /// <param name="field">The field.</param>
    /// <param name="nearest">The field that was meant; null where none is near.</param>
    /// <param name="known">All fields.</param>
    public static JobException FieldUnknown(string field, string? nearest, IEnumerable<string> known)
    {
        if (nearest is not null)
            return new(JobFaultKind.Invalid, "field_unknown", $"unknown field {field}, the nearest is {nearest}", null, ("field", field), ("nearest", nearest)) { Field = field };
        var all = string.Join(", ", known);
        return new(JobFaultKind.Invalid, "field_unknown", $"unknown field {field}: use {all}", null, ("field", field), ("known", all)) { Field = field };
    }

    public static JobException FieldTwice(string field) =>
        new(JobFaultKind.Invalid, "field_twice", $"the field {field} stands twice: leave one out", null, ("field", field)) { Field = field };

    public static JobException FieldMisplaced(string field, string within) =>
        new(JobFaultKind.Invalid, "field_misplaced", $"{field} belongs into the body itself, not into {within}", null, ("field", field), ("within", within)) { Field = field };

    public static JobException FieldNameTooDeep(string field, int most) =>
        new(JobFaultKind.Invalid, "field_name_too_deep", Invariant($"the name of the field {field} has more than {most} brackets: no field has"), null, ("field", field), ("most", most))
        {
            Field = field,
        };

    public static JobException FieldTooLong(string name, string field, int mostBytes) =>
        new(JobFaultKind.TooLarge, "field_too_long", Invariant($"the field {name} is longer than {mostBytes >> 10} KiB"), null, ("field", name), ("most_kib", mostBytes >> 10)) { Field = field };

    public static JobException FieldMalformed(string name, string field, MalformedTextException cause) =>
        new(JobFaultKind.Invalid, "field_malformed", $"the field {name} cannot be read: {Sent(cause.Message)}", cause, ("field", name), ("reason", Sent(cause.Message))) { Field = field };

    public static JobException FieldNotJson(string field, MalformedTextException cause) =>
        new(JobFaultKind.Invalid, "field_not_json", $"{field} is not JSON: {cause.Reason}", cause, ("field", field), ("reason", cause.Reason)) { Field = cause.Key ?? field };

    /// <summary>A value that a field cannot have.</summary>
    /// <param name="field">The field.</param>
    /// <param name="value">The beginning of the value, or its kind.</param>
    /// <param name="advice">Correct form of the value, as the end of the sentence.</param>
    /// <param name="cause">The error of the value's type, or null.</param>
    public static JobException ValueInvalid(string field, string value, string advice, Exception? cause = null) =>
        new(JobFaultKind.Invalid, "value_invalid", $"{field} cannot be {value}: {advice}", cause, ("field", field), ("value", value), ("advice", advice)) { Field = field };

    /// <summary>Refusal of a request that the model cannot make, with the field of the setting at fault.</summary>
    public static JobException Request(RequestException cause, string? field) =>
        new(JobFaultKind.Invalid, cause.Code, cause.Message, cause, All(cause)) { Field = field };

    /// <summary>An error with the name of the field that the client has sent.</summary>
    public static JobException Renamed(JobException cause, string field) =>
        new(cause.Kind, cause.Code, cause.Message, cause, All(cause)) { Field = field, RetryAfterSeconds = cause.RetryAfterSeconds };

    // Limits of the service.

    public static JobException TextTooLong(string field, int length, int most) =>
        new(JobFaultKind.Invalid, "text_too_long", Invariant($"the text has {length} characters: shorten it to {most}"), null, ("characters", length), ("most", most)) { Field = field };

    public static JobException FramesBeyondLimit(string field, int frames, int most) =>
        new(JobFaultKind.Invalid, "frames_beyond_limit", Invariant($"{frames} frames are more than this service makes at once: ask for at most {most}"), null,
            ("frames", frames), ("most", most))
        { Field = field };

    public static JobException FramesPerUnitBeyondLimit(int frames, int most) =>
        new(JobFaultKind.Invalid, "frames_per_unit_beyond_limit",
            Invariant($"{frames} latent frames per unit are more than this service makes at once: use 1 to {most}"), null, ("frames", frames), ("most", most))
        { Field = "frames_per_unit" };

    public static JobException StepsBeyondLimit(string field, int most) =>
        new(JobFaultKind.Invalid, "steps_beyond_limit", Invariant($"steps of a stage are 1 to {most}"), null, ("least", 1), ("most", most)) { Field = field };

    public static JobException GuidanceBeyondLimit(string field, int most) =>
        new(JobFaultKind.Invalid, "guidance_beyond_limit", Invariant($"guidance is 0 (off) to {most}"), null, ("least", 0), ("most", most)) { Field = field };

    public static JobException SizeOdd() => new(JobFaultKind.Invalid, "size_odd", "width and height must be even") { Field = "size" };

    public static JobException CountBeyondLimit(int most) =>
        new(JobFaultKind.Invalid, "count_beyond_limit", Invariant($"n is a whole number, 1 to {most}: send another request for more"), null, ("least", 1), ("most", most)) { Field = "n" };

    // What a video begins with.

    public static JobException TwoInputs() =>
        new(JobFaultKind.Invalid, "two_inputs", "input_reference, extend_video_id and last_frame_of_video_id exclude each other: give one of them") { Field = Input };

    public static JobException VideoAndInput() =>
        new(JobFaultKind.Invalid, "two_inputs", "the request names a video and something else to begin with: give one of them") { Field = Video };

    public static JobException NoVideoToContinue() =>
        new(JobFaultKind.Invalid, "input_missing", "there is no video to go on from: send its id as {\"video\": {\"id\": ...}}, or a file as video") { Field = Video };

    public static JobException NoVideoToEdit() =>
        new(JobFaultKind.Invalid, "input_missing", "there is no video to edit: send the id of one as {\"video\": {\"id\": ...}}") { Field = Video };

    public static JobException EditOfFile() =>
        new(JobFaultKind.Invalid, "edit_of_file", "only videos of this service can be edited: send the id of one as {\"video\": {\"id\": ...}}, or go on from the file at /v1/videos/extensions") { Field = Video };

    public static JobException NoInput() =>
        new(JobFaultKind.Invalid, "input_missing", "no picture or video came with the request: send it as input_reference") { Field = Input };

    public static JobException InputDeleted(Exception cause) => new(JobFaultKind.NotFound, "input_deleted", "what this video would begin with has been deleted", cause);

    public static JobException ReferenceDamaged(string reason) =>
        new(JobFaultKind.Invalid, "reference_damaged", $"the body is not JSON: the text at {Input} is damaged, {reason}", null, ("reason", reason)) { Field = Input };

    public static JobException NotDataUrl() =>
        new(JobFaultKind.Invalid, "not_a_data_url", "input_reference as text is a data URL (data:image/png;base64,...): send a file as multipart/form-data") { Field = Input };

    public static JobException NotBase64(Exception cause) => new(JobFaultKind.Invalid, "not_base64", "input_reference is not valid base64", cause) { Field = Input };

    public static JobException FileIdUnsupported() =>
        new(JobFaultKind.Invalid, "file_id_unsupported", "files are not kept here under ids of their own: send the picture or video itself as input_reference") { Field = Input };

    public static JobException TwoFiles() => new(JobFaultKind.Invalid, "two_files", "the form has more than one file: send one picture or video") { Field = Input };

    public static JobException UploadEmpty() => new(JobFaultKind.Invalid, "upload_empty", "the picture or video is empty") { Field = Input };

    public static JobException UploadOfOtherKind() =>
        new(JobFaultKind.Unsupported, "upload_of_other_kind", "the file is neither a picture (PNG, JPEG, WebP, AVIF, TIFF) nor a video (mp4, webm, mkv, gif)") { Field = Input };

    public static JobException UploadTooLarge(long mostBytes) =>
        new(JobFaultKind.TooLarge, "upload_too_large", Invariant($"the file is larger than {mostBytes >> 20} MiB: send a smaller one"), null, ("most_mib", mostBytes >> 20)) { Field = Input };

    public static JobException UploadTooManyPixels(string what, int width, int height, long most) =>
        new(JobFaultKind.TooLarge, "upload_too_many_pixels", Invariant($"the {what} is {width}x{height}: make it smaller than {most / 1_000_000} megapixels"), null,
            ("size", Invariant($"{width}x{height}")), ("most_megapixels", most / 1_000_000))
        { Field = Input };

    public static JobException UploadTooLong(double mostSeconds) =>
        new(JobFaultKind.TooLarge, "upload_too_long", Invariant($"the video is longer than {mostSeconds} seconds: send its end only"), null, ("most_seconds", mostSeconds)) { Field = Input };

    /// <summary>
    /// An upload that cannot be decoded: the error of the file without its temporary path, which means nothing to the user and is no client's business.
    /// </summary>
    public static JobException Upload(MediaException cause, string path, bool isPicture)
    {
        var parameters = cause.Parameters.Where(each => each.Key != "file").Select(each => (each.Key, each.Value is string text ? WithoutPath(text, path, isPicture) : each.Value));
        return new(JobFaultKind.Unsupported, cause.Code, WithoutPath(cause.Message, path, isPicture), cause, [.. parameters]) { Field = Input };
    }

    /// <summary>A sentence about an upload without its temporary path.</summary>
    public static string WithoutPath(string sentence, string path, bool isPicture) => sentence.Replace(path, isPicture ? "the picture" : "the video", StringComparison.Ordinal);

    // Videos, their files and lists.

    public static JobException VideoUnknown() => new(JobFaultKind.NotFound, "video_unknown", "there is no video of this id");

    public static JobException VideoAfterUnknown() => new(JobFaultKind.NotFound, "video_unknown", "there is no video of the id in 'after'") { Field = "after" };

    public static JobException FileMissing(Exception cause) => new(JobFaultKind.NotFound, "video_file_missing", "there is no such file of this video", cause);

    public static JobException NotReady(VideoJob job) => job.Status switch
    {
        VideoStatus.Failed => new(JobFaultKind.NotReady, "video_failed", $"this video failed: {job.Error?.Message}", null, ("error", job.Error?.Message)),
        VideoStatus.Queued => new(JobFaultKind.NotReady, "video_queued", "this video still waits in the queue: ask again later"),
        _ => new(JobFaultKind.NotReady, "video_in_progress", "this video is still being made: ask again later, or watch it at /stream"),
    };

    public static JobException LimitOutOfRange(int most) =>
        new(JobFaultKind.Invalid, "limit_out_of_range", Invariant($"limit is a whole number, 1 to {most}"), null, ("least", 1), ("most", most)) { Field = "limit" };

    public static JobException OrderUnknown() => new(JobFaultKind.Invalid, "order_unknown", "order is asc or desc") { Field = "order" };

    public static JobException VariantUnknown() =>
        new(JobFaultKind.Invalid, "variant_unknown", "variant is video, thumbnail, spritesheet, last_frame, input or preview") { Field = "variant" };

    public static JobException IdempotencyKeyTooLong(string header, int most) =>
        new(JobFaultKind.Invalid, "idempotency_key_too_long", Invariant($"the idempotency key is longer than {most} characters"), null, ("most", most)) { Field = header };

    public static JobException IdempotencyKeyUsed() =>
        new(JobFaultKind.Conflict, "idempotency_key_used", "this idempotency key was used for another request: take a new key for each request");

    public static JobException IdempotencyKeyUnreadable(Exception cause) =>
        new(JobFaultKind.Conflict, "idempotency_key_unreadable", "the video of this idempotency key cannot be read: take a new key", cause);

    /// <summary>A picture that could not be made, for the one who waits for it.</summary>
    public static JobException ImageFailed(VideoJob job) => new(
        job.Error?.Code switch { VideoError.Invalid => JobFaultKind.Invalid, VideoError.Cancelled => JobFaultKind.NotReady, VideoError.Storage => JobFaultKind.Storage, _ => JobFaultKind.Internal },
        job.Error?.Reason ?? "image_failed", $"the picture could not be made: {job.Error?.Message}", null, ("error", job.Error?.Message));

    // Webhooks.

    public static JobException WebhooksOff(JobFaultKind kind = JobFaultKind.Invalid) =>
        new(kind, "webhooks_off", "this service sends no webhooks: leave webhook out, or have it started with --webhook-host") { Field = "webhook" };

    public static JobException WebhookInvalid(bool allowsHttp, int most) =>
        new(JobFaultKind.Invalid, "webhook_invalid", $"webhook is an address that begins with https://{(allowsHttp ? " or http://" : "")}, without a user, a password and a fragment, of at most {most} characters with escapes such as %20") { Field = "webhook" };

    public static JobException WebhookHostNotListed(string host) =>
        new(JobFaultKind.Invalid, "webhook_host_not_listed", $"this service sends no webhooks to {host}: take an address on a host that it lists (--webhook-host)", null, ("host", host)) { Field = "webhook" };

    // Models.

    public static JobException NoModel() =>
        new(JobFaultKind.Unavailable, "no_model", "no model is installed: download one, and name the folder around it in PYRAMIDFLOW_MODELS");

    public static JobException ModelsUnreadable() => new(JobFaultKind.Unavailable, "models_unreadable", "the models cannot be read just now: try again in a moment");

    public static JobException DefaultModelUnreadable() => new(JobFaultKind.Unavailable, "default_model_unreadable", "the default model cannot be read");

    public static JobException ModelUnreadable(string model) =>
        new(JobFaultKind.Unavailable, "model_unreadable", $"the model '{model}' cannot be read just now: try again in a moment, or ask for another", null, ("model", model)) { Field = Model };

    public static JobException ModelUnknown(string? model, IEnumerable<VideoModel> models) => ModelUnknown(JobFaultKind.Invalid, $"there is no model '{model}'", models, ("model", model));

    /// <summary>The error for the address of a model that does not exist.</summary>
    public static JobException ModelAddressUnknown(IEnumerable<VideoModel> models) => ModelUnknown(JobFaultKind.NotFound, "there is no model of this id", models);

    private static JobException ModelUnknown(JobFaultKind kind, string what, IEnumerable<VideoModel> models, params ReadOnlySpan<(string Name, object? Value)> parameters)
    {
        var known = string.Join(", ", models.Select(model => model.Id));
        return new(kind, ModelUnknownCode, $"{what}: use {known}", null, [.. parameters, ("known", known)]) { Field = Model };
    }

    // LoRAs.

    public static JobException LoraUnknown(string name, IReadOnlyList<string> known)
    {
        name = StrictText.OneLine(name, LongestName);
        return known.Count == 0
            ? new(JobFaultKind.Invalid, LoraUnknownCode, $"there is no LoRA '{name}': this service has none, leave lora out", null, ("lora", name)) { Field = Lora }
            : new(JobFaultKind.Invalid, LoraUnknownCode, $"there is no LoRA '{name}': use {string.Join(", ", known)}", null, ("lora", name), ("known", string.Join(", ", known))) { Field = Lora };
    }

    public static JobException LorasUnreadable(Exception cause) =>
        new(JobFaultKind.Unavailable, "loras_unreadable", "the LoRAs of this service cannot be read just now: try again in a moment, or leave lora out", cause) { Field = Lora };

    public static JobException LoraOfOtherModel(string name, string model) =>
        new(JobFaultKind.Invalid, "lora_of_other_model", $"the LoRA '{name}' does not fit the model '{model}': /v1/loras lists the models of each LoRA", null, ("lora", name), ("model", model)) { Field = Lora };

    public static JobException TooManyLoras(int most) =>
        new(JobFaultKind.Invalid, "too_many_loras", Invariant($"a video may have {most} LoRAs: leave some out"), null, ("most", most)) { Field = Lora };

    public static JobException LoraWeightBeyondLimit(string name, double weight, double most) =>
        new(JobFaultKind.Invalid, "lora_weight_beyond_limit", Invariant($"the LoRA '{name}' cannot have the weight {weight}: use -{most} to {most}, 1 is as it was trained"), null,
            ("lora", name), ("weight", weight), ("most", most)) { Field = Lora };

    // The sentences of readers of text are those about files.
    private static string Sent(string reason) => reason.Replace("save it as", "send it as", StringComparison.Ordinal);

    private static (string Name, object? Value)[] All(PyramidFlowException cause) => [.. cause.Parameters.Select(each => (each.Key, each.Value))];
}
