using PyramidFlow.Generation;

namespace PyramidFlow.Hosting;

/// <summary>The pipeline of a host, which is loaded once and disposed with the host.</summary>
public interface IPipelineSource
{
    /// <summary>The pipeline; waits until it is loaded. A load that failed is tried again by the next call.</summary>
    /// <param name="cancellationToken">Ends the wait; the load goes on.</param>
    /// <exception cref="Torch.PyramidFlowException">It cannot be loaded.</exception>
    Task<VideoPipeline> GetAsync(CancellationToken cancellationToken = default);
}
