/*
 * The files of --tls-ca, --tls-cert and --tls-key: what is accepted, what is refused and in which words, and
 * what is told of a certificate that will expire.  Covers transport/tls_files.c.
 */
#include "cm.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pitot/transport.h"

static char folder[] = "/tmp/pitot-tls-XXXXXX";

static const char *in_folder(char path[128], const char *name)
{
	snprintf(path, 128, "%s/%s", folder, name);
	return path;
}

static FILE *file_of(const char *name)
{
	char path[128];
	int fd = open(in_folder(path, name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "w");

	assert_non_null(f);
	return f;
}

static void make_key(const char *name, EVP_PKEY *key, const char *password)
{
	FILE *f = file_of(name);

	assert_int_equal(PEM_write_PrivateKey(f, key, password ? EVP_aes_128_cbc() : NULL, NULL, 0, NULL,
					      (void *)(uintptr_t)password),
			 1);
	fclose(f);
}

/* Self-signed, valid from yesterday for so many seconds from now; what follows it in the file. */
static void make_certificate(const char *name, EVP_PKEY *key, long seconds, const char *more)
{
	X509 *x = X509_new();
	FILE *f = file_of(name);

	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
	X509_gmtime_adj(X509_getm_notBefore(x), -2 * 86400);
	X509_gmtime_adj(X509_getm_notAfter(x), seconds);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
				   (const unsigned char *)"probe", -1, -1, 0);
	X509_set_issuer_name(x, X509_get_subject_name(x));
	X509_set_pubkey(x, key);
	assert_true(X509_sign(x, key, EVP_sha256()) > 0);
	assert_int_equal(PEM_write_X509(f, x), 1);
	fputs(more, f);
	fclose(f);
	X509_free(x);
}

static int set_up(void **state)
{
	EVP_PKEY *ec = EVP_EC_gen("P-256"), *other = EVP_EC_gen("P-256"), *rsa = EVP_RSA_gen(2048);
	char path[128];

	(void)state;
	assert_non_null(mkdtemp(folder));
	make_key("key", ec, NULL);
	make_key("other-key", other, NULL);
	make_key("locked-key", ec, "secret");
	make_certificate("year", ec, 365 * 86400, "");
	make_certificate("ten-days", ec, 10 * 86400 + 3600, "");
	make_certificate("hours", ec, 7200, "");
	make_certificate("expired", ec, -7200, "");
	make_certificate("rsa", rsa, 365 * 86400, "");
	make_certificate("broken-chain", ec, 365 * 86400,
			 "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
	fclose(file_of("empty"));
	assert_int_equal(mkfifo(in_folder(path, "pipe"), 0600), 0);
	assert_int_equal(mkdir(in_folder(path, "directory"), 0700), 0);
	EVP_PKEY_free(ec);
	EVP_PKEY_free(other);
	EVP_PKEY_free(rsa);
	return 0;
}

static int tear_down(void **state)
{
	static const char *const names[] = {"key",	    "other-key", "locked-key", "year",
					    "ten-days",	    "hours",	 "expired",    "rsa",
					    "broken-chain", "empty",	 "pipe"};
	char path[128];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		unlink(in_folder(path, names[i]));
	rmdir(in_folder(path, "directory"));
	return rmdir(folder);
}

struct file_case {
	const char *ca, *certificate, *key; /* NULL: not given */
	int result;
	const char *sentence; /* or notice; % stands for the folder */
};

static const struct file_case cases[] = {
	{NULL, NULL, NULL, 0, ""},
	{"year", "year", "key", 0, ""},
	{"directory", "year", "key", 0, ""},
	{NULL, "ten-days", "key", 0, "--tls-cert %/ten-days expires in 10 days"},
	{NULL, "hours", "key", 0, "--tls-cert %/hours expires in 0 days"},
	{NULL, "expired", "key", 0, "--tls-cert %/expired has expired"},
	{"missing", NULL, NULL, -ENOENT, "--tls-ca %/missing: No such file or directory"},
	{"empty", NULL, NULL, -EINVAL, "--tls-ca %/empty: no certificates in PEM format (none is in it)"},
	{"key", NULL, NULL, -EINVAL, "--tls-ca %/key: no certificates in PEM format (none is in it)"},
	{NULL, NULL, "key", -EINVAL, "--tls-key %/key: the certificate for it is missing: --tls-cert"},
	{NULL, "missing", "key", -EINVAL, "--tls-cert %/missing: No such file or directory"},
	{NULL, "key", "key", -EINVAL, "--tls-cert %/key: not a certificate in PEM format ("},
	{NULL, "broken-chain", "key", -EINVAL,
	 "--tls-cert %/broken-chain: not a certificate in PEM format ("},
	{NULL, "year", "missing", -ENOENT, "--tls-key %/missing: No such file or directory"},
	{NULL, "year", "pipe", -EPERM, "--tls-key %/pipe: not a file; the key must be in one"},
	{NULL, "year", "locked-key", -EINVAL,
	 "--tls-key %/locked-key: not the key of the certificate, in PEM format and without a password ("},
	{NULL, "year", "other-key", -EINVAL,
	 "--tls-key %/other-key: not the key of the certificate, in PEM format and without a password ("},
	{NULL, "year", "year", -EINVAL,
	 "--tls-key %/year: not the key of the certificate, in PEM format and without a password ("},
	{NULL, "year", NULL, -EINVAL, /* the key may stand in the same file */
	 "--tls-cert %/year: not the key of the certificate, in PEM format and without a password ("},
	{NULL, "rsa", "key", -EINVAL, "--tls-key %/key: not the key of --tls-cert %/rsa"},
};

/* Whether text begins with what was wanted; % stands for the folder. */
static bool begins(const char *text, const char *wanted)
{
	for (; *wanted; wanted++) {
		size_t n = *wanted == '%' ? strlen(folder) : 1;

		if (strncmp(text, *wanted == '%' ? folder : wanted, n) != 0)
			return false;
		text += n;
	}
	return true;
}

static void check_case(const struct file_case *f, enum transport_kind kind)
{
	struct collector_config collector = {.url = "ipfix+tls://127.0.0.1:9",
					     .format = FORMAT_IPFIX,
					     .transport = kind,
					     .host = "127.0.0.1",
					     .port = 9};
	char ca[128], certificate[128], key[128];
	struct transport_config config = {.collector = &collector,
					  .user = geteuid(),
					  .tls_ca = f->ca ? in_folder(ca, f->ca) : NULL,
					  .tls_cert = f->certificate ? in_folder(certificate, f->certificate)
								     : NULL,
					  .tls_key = f->key ? in_folder(key, f->key) : NULL};
	struct transport_stats last;
	struct transport *t = NULL;
	struct diag diag = {""};
	int r = transport_open(&t, &config, &diag);
	const char *said = r == 0 ? t->notice : diag.text;

	if (r != f->result || !begins(said, f->sentence) || !f->sentence[0] != !said[0])
		fail_msg("ca %s, cert %s, key %s: %d instead of %d, '%s' instead of '%s'", f->ca,
			 f->certificate, f->key, r, f->result, said, f->sentence);
	if (r == 0) {
		assert_int_equal(t->notices, f->sentence[0] ? 1 : 0);
		t->ops->close(t, 0, &last);
	}
}

static void test_files(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		check_case(&cases[i], TRANSPORT_TLS);
		check_case(&cases[i], TRANSPORT_DTLS);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_files),
	};

	return cmocka_run_group_tests_name("tls_files", tests, set_up, tear_down);
}
