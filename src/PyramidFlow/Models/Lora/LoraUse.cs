namespace PyramidFlow.Models.Lora;

/// <summary>A LoRA and how much it counts.</summary>
/// <param name="Path">Its safetensors file, or the folder of an adapter that peft or diffusers wrote.</param>
/// <param name="Weight">1 as trained; may be negative.</param>
public sealed record LoraUse(string Path, double Weight = 1);
