using PyramidFlow.Pipelines;
using PyramidFlow.Server.Jobs;
using PyramidFlow.Server.Work;

namespace PyramidFlow.Server.Tests;

public sealed class JobFaultTests
{
    [Fact]
    public void What_the_model_refuses_is_the_users_and_is_not_tried_again()
    {
        var refused = Assert.Throws<ArgumentException>(() => new GenerationRequest { Prompt = "a", Width = 100, Height = 100 }.Resolve(PyramidFlow.Hub.PipelineSettings.Released(PyramidFlow.Hub.ModelFamily.Flux, "384p")));
        Assert.Equal((VideoError.Invalid, false), (JobFaults.Of(refused).Error.Code, JobFaults.Of(refused).Retry));
    }

    [Fact]
    public void An_argument_exception_of_a_bug_is_not_shown_as_the_users_mistake()
    {
        var bug = Assert.ThrowsAny<ArgumentException>(() => "text".Substring(9));
        Assert.Equal((VideoError.Internal, true), (JobFaults.Of(bug).Error.Code, JobFaults.Of(bug).Retry));
        Assert.DoesNotContain("startIndex", JobFaults.Of(bug).Error.Message);
    }
}
