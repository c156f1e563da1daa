using System.Text;
using Microsoft.AspNetCore.Http;
using PyramidFlow.Server;
using PyramidFlow.Server.Files;
using PyramidFlow.Server.Jobs;
using PyramidFlow.Server.Page.State;
using PyramidFlow.Server.Rest;

namespace PyramidFlow.Fuzz.Targets;

/// <summary>Bodies of requests and what browsers keep.</summary>
internal static class ServiceTargets
{
    private const string Boundary = "xxBOUNDARYxx";

    public static IEnumerable<FuzzTarget> All()
    {
        byte[][] words = FuzzTargets.Utf8("\"prompt\":", "\"seed\":-1", "\"input_reference\":{\"image_url\":\"data:image/png;base64,", "\"extra_params\":", "\"\\ud83d\"", "\"schedule\":[", "\"size\":\"64x64\"", "null", "\"prompt\":\"a\",");
        yield return new("request-json", input => Request(input, "application/json"), [typeof(JobException)],
            FuzzTargets.Utf8("""{"prompt":"a red ball","seconds":"0.4","size":"64x64","seed":7.0,"num_inference_steps":[2,2,2],"video_steps":2,"guidance_scale":7.5,"prompt_schedule":[{"from":1,"prompt":"b"}],"extra_params":"{\"negative_prompt\":\"x\"}"}""",
                """{"prompt":"a","input_reference":{"image_url":"data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="}}"""), words);
        yield return new("request-form", input => Request(input, $"multipart/form-data; boundary={Boundary}"), [typeof(JobException)],
            FuzzTargets.Utf8($"--{Boundary}\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\na red ball\r\n--{Boundary}\r\nContent-Disposition: form-data; name=\"input_reference\"; filename=\"a.png\"\r\nContent-Type: image/png\r\n\r\n\u0089PNG\r\n\u001a\nxxxx\r\n--{Boundary}--\r\n"),
            FuzzTargets.Utf8($"\r\n--{Boundary}\r\n", $"--{Boundary}--", "Content-Disposition: form-data; name=\"seed\"\r\n\r\n7", "filename=\"", "\r\n\r\n", "name=\"input_reference[image_url]\""));
        yield return new("kept-form", input => KeptDraft.FromJson(Encoding.UTF8.GetString(input)), [],
            FuzzTargets.Utf8("""{"Model":"sprites","Mode":0,"Prompt":"a","NegativePrompt":"","Units":3,"HasOwnSize":false,"Width":"","Height":"","Steps":"","VideoSteps":"","Guidance":"","VideoGuidance":"","Seed":"","KeepsSeed":false,"Schedule":null,"From":null,"SameInputAs":null}"""),
            FuzzTargets.Utf8("null", "\"Schedule\":[null]", "\"Mode\":99", "\\ud83d"));
    }

    private static readonly VideoFolder Folder = new(Path.Combine(FuzzTargets.Folder, "service"));

    private static void Request(byte[] input, string type)
    {
        Folder.Create();
        var context = new DefaultHttpContext();
        context.Request.Method = "POST";
        context.Request.ContentType = type;
        context.Request.Body = new MemoryStream(input);
        context.Request.ContentLength = input.Length;
        ReadAsync(context.Request).GetAwaiter().GetResult();
    }

    private static async Task ReadAsync(HttpRequest request)
    {
        var (fields, upload) = await new RequestReader(Folder, new ServerLimits()).ReadAsync(request, CancellationToken.None);
        await using (upload)
            _ = CreateFields.Read(fields, upload?.Kind, []);
    }
}
