namespace PyramidFlow.Torch.Distributed;

/// <summary>What all processes do together; sent along, so that processes that have come apart are told.</summary>
internal enum Collective
{
    Sum = 1,
    Broadcast,
    Barrier,
}
