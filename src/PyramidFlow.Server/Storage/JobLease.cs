using PyramidFlow.Server.Domain;

namespace PyramidFlow.Server.Storage;

/// <summary>A worker's hold on a job: nobody else takes it as long as the lease is renewed in time.</summary>
/// <param name="Job">The job as it was taken.</param>
/// <param name="Worker">Who holds it.</param>
internal sealed record JobLease(VideoJob Job, string Worker)
{
    public string Id => Job.Id;

    public int Attempt => Job.Attempt;
}
