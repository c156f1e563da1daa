using PyramidFlow.Generation;
using PyramidFlow.Server.Domain;
using PyramidFlow.Torch;

namespace PyramidFlow.Server.Tests;

public sealed class JobFaultTests
{
    [Fact]
    public void What_the_model_refuses_is_the_users_and_is_not_tried_again()
    {
        var refused = Assert.Throws<RequestException>(() => new GenerationOptions { Prompt = "a", Width = 100, Height = 100 }.Resolve(PyramidFlow.Models.PipelineSettings.Released(PyramidFlow.Models.ModelFamilies.Flux, "384p")));
        Assert.Equal((VideoError.Invalid, false), (JobFaults.ToError(refused).Error.Code, JobFaults.ToError(refused).Retry));
    }

    [Fact]
    public void Numbers_that_are_not_finite_are_told_as_such_and_not_tried_again_even_where_a_file_is_named()
    {
        var found = new NonFiniteException(ModelPart.Vae, "when frames were decoded");
        foreach (var fault in (Exception[])[found, new CheckpointException("weight_not_finite", "vae.safetensors holds a number that is not finite in conv.bias", found)])
        {
            var (error, retry) = JobFaults.ToError(fault);
            Assert.Equal((VideoError.Internal, false), (error.Code, retry));
            Assert.Contains("numbers of which no picture can be made", error.Message, StringComparison.Ordinal);
        }

        Assert.True(JobFaults.ToError(new CheckpointException("file_missing", "vae.safetensors does not exist")).Retry);
    }

    [Fact]
    public void An_argument_exception_of_a_bug_is_not_shown_as_the_users_mistake()
    {
        var bug = Assert.ThrowsAny<ArgumentException>(() => "text".Substring(9));
        Assert.Equal((VideoError.Internal, true), (JobFaults.ToError(bug).Error.Code, JobFaults.ToError(bug).Retry));
        Assert.DoesNotContain("startIndex", JobFaults.ToError(bug).Error.Message);
    }
}
