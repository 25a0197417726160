// java: uploads a file with PUT and downloads it, several at once; prints the SHA-256 of each download.
//     java Transfer.java URL FILE COUNT

import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.HexFormat;
import java.util.concurrent.CompletableFuture;
import java.util.stream.IntStream;

class Transfer {
    public static void main(String[] arguments) throws Exception {
        var client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
        var file = Path.of(arguments[1]);
        var downloads = IntStream.range(0, Integer.parseInt(arguments[2]))
            .mapToObj(index -> transfer(client, URI.create(arguments[0] + "-" + index), file)).toList();
        for (var download : downloads) {
            var digest = MessageDigest.getInstance("SHA-256").digest(download.get());
            System.out.println(HexFormat.of().formatHex(digest));
        }
    }

    static CompletableFuture<byte[]> transfer(HttpClient client, URI address, Path file) {
        try {
            var put = HttpRequest.newBuilder(address).PUT(HttpRequest.BodyPublishers.ofFile(file)).build();
            var get = HttpRequest.newBuilder(address).build();
            return client.sendAsync(put, BodyHandlers.discarding())
                .thenApply(answer -> expect(201, answer.statusCode()))
                .thenCompose(stored -> client.sendAsync(get, BodyHandlers.ofByteArray()))
                .thenApply(answer -> {
                    expect(200, answer.statusCode());
                    return answer.body();
                });
        } catch (java.io.FileNotFoundException missing) {
            throw new IllegalArgumentException(missing);
        }
    }

    static int expect(int wanted, int got) {
        if (got != wanted) throw new IllegalStateException("status " + got);
        return got;
    }
}
