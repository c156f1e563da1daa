using PyramidFlow.Torch;

namespace PyramidFlow.Generation;

/// <summary>Between pixels in -1 to 1 and interleaved RGB bytes.</summary>
internal static class FrameBytes
{
    /// <summary>Pixels as rounded bytes, clipped to -1 to 1.</summary>
    /// <param name="frames">[3, t, h, w].</param>
    /// <returns>t x h x w x 3 bytes.</returns>
    public static byte[] Of(Tensor frames)
    {
        // Frame by frame and in place after the first product: frames are the largest tensors there are.
        var (count, size) = (frames.Size(1), (int)(3 * frames.Size(2) * frames.Size(3)));
        var bytes = new byte[count * size];
        for (var frame = 0; frame < count; frame++)
        {
            using var scope = new TensorScope();
            var levels = (frames.Select(1, frame).To(ElementType.Float32) * 127.5).AddInPlace(127.5).ClampInPlace(0, 255); // [3, h, w]
            levels.Round().To(ElementType.UInt8).Permute(1, 2, 0).ToArray<byte>().CopyTo(bytes, frame * size);           // [h, w, 3]
        }

        return bytes;
    }

    /// <summary>Bytes of frames as pixels.</summary>
    /// <param name="rgb">frames x height x width x 3 bytes.</param>
    /// <param name="width">Pixels.</param>
    /// <param name="height">Pixels.</param>
    /// <returns>Float32 [1, 3, frames, height, width].</returns>
    public static Tensor ToPixels(ReadOnlySpan<byte> rgb, int width, int height)
    {
        using var scope = new TensorScope();
        var bytes = Tensor.From(rgb, 1, rgb.Length / (3L * width * height), height, width, 3);
        var pixels = bytes.Permute(0, 4, 1, 2, 3).Contiguous().To(ElementType.Float32);              // [1, 3, t, h, w]
        return scope.Keep(pixels / 127.5 - 1);
    }
}
