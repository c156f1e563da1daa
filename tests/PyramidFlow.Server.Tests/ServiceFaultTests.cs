using PyramidFlow.Generation;
using PyramidFlow.Media;
using PyramidFlow.Models.Lora;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Http;
using PyramidFlow.Testing;
using PyramidFlow.Torch;

namespace PyramidFlow.Server.Tests;

public sealed class ServiceFaultTests
{
    [Fact]
    public void What_the_model_refuses_is_the_users_and_is_not_tried_again()
    {
        var refused = Assert.Throws<RequestException>(() => new GenerationOptions { Prompt = "a", Width = 100, Height = 100 }.Resolve(PyramidFlow.Models.PipelineSettings.Released(PyramidFlow.Models.ModelFamilies.Flux, "384p")));
        var (error, retry) = ServiceFault.Failed(refused);
        Assert.Equal((VideoError.Invalid, "size_not_multiple", false), (error.Code, error.Reason, retry));
    }

    [Fact]
    public void Numbers_that_are_not_finite_are_told_as_such_and_not_tried_again_even_where_a_file_is_named()
    {
        var found = new NonFiniteException(ModelPart.Vae, "when frames were decoded");
        foreach (var fault in (Exception[])[found, new CheckpointException("weight_not_finite", "vae.safetensors holds a number that is not finite in conv.bias", found)])
        {
            var (error, retry) = ServiceFault.Failed(fault);
            Assert.Equal((VideoError.Internal, false), (error.Code, retry));
            Assert.Contains("numbers of which no picture can be made", error.Message, StringComparison.Ordinal);
        }

        Assert.True(ServiceFault.Failed(new CheckpointException("file_missing", "vae.safetensors does not exist")).Retry);
    }

    [Fact]
    public void A_LoRA_is_the_users_fault_only_where_the_request_names_it()
    {
        using var folder = new TemporaryFolder();
        using var scope = new TensorScope();
        using var model = new Linear(2, 2);
        using var loras = new LoraCache(model);
        var file = folder.File("style.safetensors");
        foreach (var (code, kind, retry) in new[] { ("file_missing", VideoError.Invalid, true), ("no_lora", VideoError.Invalid, false) })
        {
            var (error, again) = ServiceFault.Failed(Assert.Throws<CheckpointException>(() => loras.Use([new LoraUse(file)], 0, CancellationToken.None)));
            Assert.Equal((kind, code, retry), (error.Code, error.Reason, again));
            Assert.DoesNotContain(folder.Path, error.Message, StringComparison.Ordinal);
            PyramidFlow.Torch.Checkpoints.SafetensorsWriter.Write(file, [("weight", Tensor.Ones([1]))]);
        }

        // One of the operator, with which the model was loaded.
        Assert.Equal((VideoError.Internal, true), (ServiceFault.Failed(new CheckpointException("lora_misfit", file)).Error.Code, ServiceFault.Failed(new CheckpointException("lora_misfit", file)).Retry));
    }

    [Fact]
    public void An_argument_exception_of_a_bug_is_not_shown_as_the_users_mistake()
    {
        foreach (var bug in (Exception[])[Assert.ThrowsAny<ArgumentException>(() => "text".Substring(9)), new ArgumentException("startIndex of our own")])
        {
            var (error, retry) = ServiceFault.Failed(bug);
            Assert.Equal((VideoError.Internal, null, true), (error.Code, error.Reason, retry));
            Assert.DoesNotContain("startIndex", error.Message);
        }
    }

    [Fact]
    public void Kinds_of_refusals_have_the_codes_and_statuses_that_clients_know()
    {
        var known = Enum.GetValues<JobFaultKind>().Select(kind => ProblemObject.Of(new JobException(kind, "cause", "a sentence"))).Select(problem => $"{problem.Error.Code} {problem.Status}");
        Assert.Equal(
        [
            "invalid 400", "malformed 400", "no_key 401", "wrong_origin 403", "not_found 404", "method_not_allowed 405", "too_slow 408", "not_ready 409", "too_large 413", "unsupported 415",
            "range 416", "wrong_host 421", "conflict 422", "too_many 429", "rate_limit 429", "refused 400", "internal 500", "unavailable 503", "storage 507",
        ], known);
        var chosen = ProblemObject.Of(ServiceFault.Refused(431));
        Assert.Equal((431, "refused"), (chosen.Status, chosen.Error.Code));
    }

    [Fact]
    public void An_error_of_a_full_disk_tells_no_path()
    {
        var refused = ServiceFault.Storage(new MediaException("write_failed", "ffmpeg could not write /data/x.mp4", null, ("file", "/data/x.mp4")));
        Assert.Equal("write_failed", refused.Code);
        Assert.Empty(refused.Parameters);
        Assert.DoesNotContain("/data", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void An_error_of_an_upload_names_no_path_in_sentence_and_parameters()
    {
        const string path = "/data/incoming/0123";
        var refused = ServiceFault.Upload(new MediaException("picture_damaged", $"{path} is not a whole picture: {path}: end of file", null, ("file", path), ("reason", $"{path}: end of file"), ("bytes", 7)), path, isPicture: true);

        FaultAssert.Is(refused, "picture_damaged", ("reason", "the picture: end of file"));
        Assert.Equal(["reason", "bytes"], refused.Parameters.Keys);
        Assert.Equal(7, refused.Parameters["bytes"]);
        Assert.DoesNotContain(path, refused.Message, StringComparison.Ordinal);
        Assert.Equal((JobFaultKind.Unsupported, "input_reference"), (refused.Kind, refused.Field));
    }
}
