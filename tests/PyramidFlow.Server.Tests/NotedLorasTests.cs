using PyramidFlow.Models.Lora;
using PyramidFlow.Generation;
using PyramidFlow.Server.Worker;
using PyramidFlow.Testing;

namespace PyramidFlow.Server.Tests;

public sealed class NotedLorasTests
{
    [Fact]
    public void A_LoRA_that_was_away_for_a_moment_has_its_hash_in_the_notes_of_later_videos()
    {
        using var folder = new TemporaryFolder();
        folder.Write("there.safetensors", "there");
        var noted = new NotedLoras([new LoraUse(folder.File("pink"), 0.5), new LoraUse(folder.File("there.safetensors"))]);
        Assert.Equal([null, GenerationNotes.Sha256(folder.File("there.safetensors"))], noted.Get().Select(lora => lora.Sha256));

        folder.Write("pink/adapter_model.safetensors", "matrices");
        folder.Write("pink/adapter_config.json", "{}");
        var hash = LoraPlace.Find(folder.File("pink")).Sha256();
        Assert.Equal(new NotedLora("pink", 0.5, hash), noted.Get()[0]);

        Directory.Delete(folder.File("pink"), recursive: true);
        Assert.Equal(hash, noted.Get()[0].Sha256);
    }
}
