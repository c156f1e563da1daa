using PyramidFlow.Generation;
using PyramidFlow.Media;
using PyramidFlow.Server.Domain;
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
