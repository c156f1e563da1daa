using PyramidFlow.Hub;
using PyramidFlow.Models;
using PyramidFlow.Models.Lora;
using PyramidFlow.Torch;
using PyramidFlow.Training.Data;
using PyramidFlow.Training.Loop;

namespace PyramidFlow.Training.Dit;

/// <summary>The transformer that a student learns from.</summary>
/// <param name="Settings">Settings of its pipelines.</param>
/// <param name="Open">Opens its weights; the caller disposes them.</param>
internal sealed record Teacher(PipelineSettings Settings, Func<StateSource> Open)
{
    /// <summary>Keys of paths in a configuration.</summary>
    internal const string Key = "distill.teacher", LoraKey = "distill.loras";

    /// <summary>LoRAs that are added to it.</summary>
    public IReadOnlyList<string> Loras { get; init; } = [];

    /// <summary>Computes a digest of its weights and LoRAs, which a run keeps.</summary>
    public Func<string> Digest { get; init; } = () => "";

    /// <summary>Whether a plan needs the teacher that a configuration names: all but a released model that is not on this machine yet. Without a name it is the student's own model.</summary>
    /// <param name="file">The configuration.</param>
    /// <param name="distill">What it says.</param>
    internal static bool IsNeeded(string file, DistillConfig distill) =>
        distill.Teacher is not { } given || ModelCatalog.FindReleased(given) is null || Path.Exists(ConfigPaths.FolderOrName(file, Key, given));

    /// <summary>Finds the teacher of a configuration, and refuses one that the student cannot learn from. No weight of a transformer is read.</summary>
    /// <param name="file">The configuration.</param>
    /// <param name="distill">What it says.</param>
    /// <param name="student">The model that the student begins with.</param>
    /// <param name="variant">Its transformer; null is the first.</param>
    /// <param name="isWhole">Whether the student is trained on whole clips.</param>
    /// <exception cref="TrainingException">There is no such teacher, or it does not fit.</exception>
    internal static Teacher Find(string file, DistillConfig distill, CheckpointFolder student, string? variant, bool isWhole)
    {
        var own = student.Transformer(variant);
        var (name, transformer, settings, vae) = distill.Teacher is { } given
            ? Named(given, ConfigPaths.Model(file, Key, given), variant)
            : (Path.GetFileName(student.Root), own, student.Settings(variant), student.Vae);
        if (settings.Distilled is not null)
            throw TrainingFault.TeacherDistilled(file, name);
        if (distill.Teacher is not null)
            RequireFit(file, name, (transformer, settings, vae), (own, student.Settings(variant), student.Vae));
        // The student takes the stages of its teacher.
        if (settings.FullSequence != isWhole)
            throw TrainingFault.TeacherOfOtherNetwork(file, name, "as full_sequence", settings.FullSequence, isWhole);
        var fewest = settings.Steps.Concat(settings.VideoSteps).Min();
        if (distill.Rounds is [var steps, ..] && steps > fewest)
            throw TrainingFault.StudentOfMoreSteps(file, steps, fewest);
        IReadOnlyList<string> loras = [.. distill.Loras.Select(lora => ConfigPaths.File(file, LoraKey, lora))];
        return new Teacher(settings, transformer.OpenWeights)
        {
            Loras = loras,
            Digest = () => string.Join('-', (string[])[FolderDigest.Of(transformer.Folder), .. loras.Select(lora => LoraPlace.Find(lora).Digest())]),
        };
    }

    // A model folder, or a run, whose settings stand beside its transformer and whose VAE is that of the model it began with.
    private static (string Name, ComponentFolder Transformer, PipelineSettings Settings, ComponentFolder? Vae) Named(string name, string folder, string? variant)
    {
        if (RunParts.IsRun(folder) || !CheckpointFolder.IsCheckpoint(folder))
        {
            var transformer = RunParts.Find(folder, CheckpointNames.Transformer);
            var defaults = PipelineSettings.Released(ModelFamilies.Read(transformer.ConfigFile), variant ?? "");
            return (name, transformer, RunParts.Settings(transformer) is { } settings ? PipelineSettings.Read(settings, defaults) : defaults, null);
        }

        var model = CheckpointFolder.Open(folder);
        var taken = variant is not null && model.Variants.Contains(variant) ? variant : null;
        return (name, model.Transformer(taken), model.Settings(taken), model.Has(CheckpointNames.Vae) ? model.Vae : null);
    }

    private static void RequireFit(string file, string name, (ComponentFolder Transformer, PipelineSettings Settings, ComponentFolder? Vae) teacher,
        (ComponentFolder Transformer, PipelineSettings Settings, ComponentFolder Vae) student)
    {
        var (family, wanted) = (ModelFamilies.Read(teacher.Transformer.ConfigFile), ModelFamilies.Read(student.Transformer.ConfigFile));
        if (family != wanted)
            throw TrainingFault.TeacherOfOtherFamily(file, name, family.Name, wanted.Name);
        var (network, own) = (TransformerConfigs.Load(teacher.Transformer.ConfigFile), TransformerConfigs.Load(student.Transformer.ConfigFile));
        if (teacher.Settings.Latent != student.Settings.Latent || network.LatentChannels != own.LatentChannels || !AreLatentsOfOne(teacher.Vae, student.Vae))
            throw TrainingFault.TeacherOfOtherLatents(file, name);
        foreach (var (what, found, there) in (ReadOnlySpan<(string, object, object)>)
            [
                ("blocks", network.Blocks, own.Blocks), ("features", network.Dim, own.Dim), ("heads", network.Heads, own.Heads), ("features of a text token", network.JointAttentionDim, own.JointAttentionDim),
                ("features of the pooled text", network.PooledProjectionDim, own.PooledProjectionDim), ("as use_temporal_causal", network.UseTemporalCausal, own.UseTemporalCausal),
            ])
        {
            if (!found.Equals(there))
                throw TrainingFault.TeacherOfOtherNetwork(file, name, what, found, there);
        }
    }

    // A folder without weights of a VAE says nothing.
    private static bool AreLatentsOfOne(ComponentFolder? teacher, ComponentFolder student) =>
        teacher is null || teacher.Folder == student.Folder || SourceModel.OfVae(teacher) is not { } found || SourceModel.OfVae(student) is not { } own || found == own;
}
